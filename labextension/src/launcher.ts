/** The launcher's cards: a new notebook on each endpoint. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ILauncher } from '@jupyterlab/launcher';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';

import { CommandIDs } from './commands';
import { iconUrl } from './icon';
import { offered } from './offers';
import { IFxLive, IFxSettings } from './tokens';

export const launcher: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-fx:launcher',
  description: 'Offers new notebooks on endpoints in the launcher.',
  autoStart: true,
  requires: [IFxLive, IFxSettings],
  optional: [ILauncher, ITranslator],
  activate: (
    _app: JupyterFrontEnd,
    live: IFxLive,
    settings: IFxSettings,
    all: ILauncher | null,
    translator: ITranslator | null
  ) => {
    if (all === null) {
      return; // Notebook 7 has none
    }
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
          const command = CommandIDs.newNotebook;
          const item = { command, args, category, rank: 100 + rank, kernelIconUrl: iconUrl };
          shown.set(endpoint, all.add(item));
        }
      });
    };
    live.stateChanged.connect(draw);
    settings.changed.connect(draw);
    draw();
  }
};
