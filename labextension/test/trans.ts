/** A bundle without translations, as JupyterLab's is in English. */

import { TranslationBundle } from '@jupyterlab/translation';

const fill = (said: string, args: readonly unknown[]): string =>
  said.replace(/%%|%(\d+)/g, (found, n: string) =>
    found === '%%' ? '%' : String(args[Number(n) - 1])
  );

export const trans = {
  __: (said: string, ...args: unknown[]) => fill(said, args),
  _n: (one: string, many: string, n: number, ...args: unknown[]) =>
    fill(n === 1 ? one : many, [n, ...args])
} as TranslationBundle;
