/** Makes the bundle that a renderer writes back into the notebook, so that the saved file says how a task ended. */

import { PartialJSONObject } from '@lumino/coreutils';

import { bare } from '../ansi';
import { plain } from '../format';
import { Card } from '../types/card';
import { MIME } from './read';
import { line } from './words';

/** Bytes of a card's tail. */
export const TAIL_MAX = 8192;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#x27;'
};

export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, found => ESCAPES[found] ?? '');
}

/** Bytes of a text in UTF-8. */
export function size(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}

/** The last whole lines that fit into a card. */
export function tail(lines: readonly string[]): string {
  const kept: string[] = [];
  let total = 0;
  for (let at = lines.length - 1; at >= 0; at--) {
    const text = (lines[at] ?? '').replace(/\u001b(?!\[[0-9;]*m)/g, '');
    total += size(text) + 1;
    if (total > TAIL_MAX) {
      break;
    }
    kept.unshift(text);
  }
  return kept.join('\n');
}

/** MIME type -> data. Everything from elsewhere is text in it. */
export function bundle(card: Card, now: number): PartialJSONObject {
  const said = plain(line(card, now));
  const notices = (card.notices ?? []).map(plain);
  const last = card.tail === undefined ? '' : plain(bare(card.tail));
  const fold = card.details
    ? `<details><summary>Details</summary><pre>${escaped(card.details)}</pre></details>`
    : '';
  const html = [said, ...notices].map(text => `<div>${escaped(text)}</div>`).join('') + fold;
  const shown = last === '' ? '' : `<pre>${escaped(last)}</pre>`;
  const text = [
    said,
    ...notices,
    ...(last === '' ? [] : last.split('\n').map(row => `  | ${row}`))
  ];
  return {
    [MIME]: card as unknown as PartialJSONObject,
    'text/html': `<div style="font-size:85%">${html}${shown}</div>`,
    'text/plain': text.join('\n')
  };
}
