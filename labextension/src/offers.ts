/** What the launcher offers and the status bar counts, from the hub's state. Pure. */

import { TranslationBundle } from '@jupyterlab/translation';

import { count } from './format';
import { isName } from './front/python';
import { IState } from './tokens';

/** More would bury the others: the command asks for the name. */
const MOST = 8;

/** Names of endpoints that get a card: those that are ready first. */
export function offered(state: IState | null): readonly string[] {
  return [...(state?.endpoints ?? [])]
    .filter(one => isName(one.name))
    .sort(
      (a, b) =>
        Number(b.state === 'ONLINE') - Number(a.state === 'ONLINE') || (a.name < b.name ? -1 : 1)
    )
    .slice(0, MOST)
    .map(one => one.name);
}

/** `3 running, 2 waiting`; empty when nothing does. */
export function counts(state: IState | null, trans: TranslationBundle): string {
  const endpoints = state?.endpoints ?? [];
  const running = endpoints.reduce((sum, one) => sum + one.running, 0);
  const waiting = endpoints.reduce((sum, one) => sum + one.queued + one.leased, 0);
  return [
    running > 0 ? trans.__('%1 running', count(running, trans)) : '',
    waiting > 0 ? trans.__('%1 waiting', count(waiting, trans)) : ''
  ]
    .filter(Boolean)
    .join(', ');
}
