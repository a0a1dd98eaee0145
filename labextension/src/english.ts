/** Words as they stand in the source: for what is saved in notebooks, which others open in other languages. */

import { TranslationBundle } from '@jupyterlab/translation';

const fill = (said: string, args: readonly unknown[]): string =>
  said.replace(/%%|%(\d+)/g, (found, n: string) =>
    found === '%%' ? '%' : String(args[Number(n) - 1])
  );

export const english = {
  __: (said: string, ...args: unknown[]) => fill(said, args),
  _n: (one: string, many: string, n: number, ...args: unknown[]) =>
    fill(n === 1 ? one : many, [n, ...args]),
  _p: (_context: string, said: string, ...args: unknown[]) => fill(said, args)
} as TranslationBundle;
