// Writes src/types/card.ts from the card's JSON schema; with --check says whether it is fresh.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile } from 'json-schema-to-typescript';

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, '../../kernel/jupyter_fx_kernel/card.schema.json');
const target = join(here, '../src/types/card.ts');
const schema = JSON.parse(readFileSync(source, 'utf8'));
schema.title = 'Card';

/** Bounds are for those who write: as types they would be tuples of every length. */
function unbounded(node) {
  if (node !== null && typeof node === 'object') {
    delete node.maxItems;
    Object.values(node).forEach(unbounded);
  }
  return node;
}

const made = await compile(unbounded(schema), 'Card', {
  bannerComment:
    '// Made by tools/card-types.mjs from kernel/jupyter_fx_kernel/card.schema.json: change it there, then `jlpm types`.',
  additionalProperties: false,
  style: { singleQuote: true, printWidth: 100, trailingComma: 'none' }
});
if (process.argv.includes('--check')) {
  if (readFileSync(target, 'utf8') !== made) {
    console.error('src/types/card.ts is stale: run `jlpm types` in labextension/');
    process.exit(1);
  }
} else {
  writeFileSync(target, made);
}
