/** Looks at the hub's state while this page is seen: a page in the background asks for nothing. */

import { DisposableDelegate, IDisposable } from '@lumino/disposable';

import { IFxLive } from './tokens';

export function lookWhileSeen(live: IFxLive): IDisposable {
  let looking: IDisposable | null = null;
  const turn = (): void => {
    if (document.hidden) {
      looking?.dispose();
      looking = null;
    } else {
      looking ??= live.look();
    }
  };
  document.addEventListener('visibilitychange', turn);
  turn();
  return new DisposableDelegate(() => {
    document.removeEventListener('visibilitychange', turn);
    looking?.dispose();
    looking = null;
  });
}
