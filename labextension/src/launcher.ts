/** The launcher's cards: a new notebook on each endpoint. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';

import { CommandIDs } from './commands';
import { isName } from './front/python';
import { IFxLive, IFxSettings, IState } from './tokens';

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

export const launcher: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-fx:launcher',
  description: 'Offers new notebooks on endpoints in the launcher.',
  autoStart: true,
  requires: [ILauncher, IFxLive, IFxSettings],
  optional: [ITranslator],
  activate: (
    _app: JupyterFrontEnd,
    all: ILauncher,
    live: IFxLive,
    settings: IFxSettings,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyterlab');
    const shown = new Map<string, IDisposable>();
    const draw = (): void => {
      if (live.state === null && settings.launcherCards) {
        return;
      }
      const wanted = settings.launcherCards ? offered(live.state) : [];
      for (const [name, card] of shown) {
        if (!wanted.includes(name)) {
          card.dispose();
          shown.delete(name);
        }
      }
      wanted.forEach((endpoint, rank) => {
        if (!shown.has(endpoint)) {
          const args = { endpoint };
          // The category is JupyterLab's own, by JupyterLab's translation of it.
          const category = trans.__('Notebook');
          const item = { command: CommandIDs.newNotebook, args, category, rank: 100 + rank };
          shown.set(endpoint, all.add(item));
        }
      });
    };
    live.stateChanged.connect(draw);
    settings.changed.connect(draw);
    draw();
  }
};
