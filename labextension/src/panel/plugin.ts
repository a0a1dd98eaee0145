/** The panel in the side bar. */

import {
  ILabShell,
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { icon } from '../icon';
import { Tasks } from '../tasks';
import { IFxFront, IFxLive, IFxRequests } from '../tokens';
import { FxPanel } from './panel';

export const panel: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-fx:panel',
  description: 'Endpoints, sessions and tasks in the left side bar.',
  autoStart: true,
  requires: [IFxLive, IFxRequests, IFxFront],
  optional: [ILabShell, ILayoutRestorer, ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    live: IFxLive,
    requests: IFxRequests,
    front: IFxFront,
    lab: ILabShell | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_fx');
    const pathOf = (kernelId: string): string => {
      for (const session of app.serviceManager.sessions.running()) {
        if (session.kernel?.id === kernelId) {
          return session.path;
        }
      }
      return '';
    };
    const openPath = (path: string): void => void app.commands.execute('docmanager:open', { path });
    // Notebook 7 has side bars beside its notebooks, not beside its tree of files.
    if (lab === null && PageConfig.getOption('notebookPage') !== 'notebooks') {
      return;
    }
    const tasks = new Tasks(live, trans);
    const shown = new FxPanel({ tasks, requests, front, trans, pathOf, openPath });
    shown.id = 'jupyter-fx-panel';
    shown.title.icon = icon;
    shown.title.caption = trans.__('Remote endpoints, sessions and tasks');
    app.shell.add(shown, 'left', { rank: 450, type: 'Remote' });
    restorer?.add(shown, shown.id);
    app.commands.addCommand(CommandIDs.open, {
      label: trans.__('Show Endpoints, Sessions and Tasks'),
      icon,
      execute: () => app.shell.activateById(shown.id)
    });
    palette?.addItem({ command: CommandIDs.open, category: trans.__('Remote cells') });
  }
};
