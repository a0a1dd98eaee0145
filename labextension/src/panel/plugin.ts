/** The panel, its commands, and the item in the status bar. */

import {
  ILabShell,
  ILayoutRestorer,
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { LabIcon } from '@jupyterlab/ui-components';
import { Widget } from '@lumino/widgets';

import { Tasks } from '../tasks';
import { IFxLive, IFxRequests } from '../tokens';
import { button, say } from '../dom';
import { Front } from './notebook';
import { FxPanel } from './panel';

const icon = new LabIcon({
  name: 'jupyter-fx:panel',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g class="jp-icon3" fill="#616161">' +
    '<path d="M3 5h8v2H5v10h6v2H3z"/><path d="M13 6l6 6-6 6-1.4-1.4L15.2 13H8v-2h7.2l-3.6-3.6z"/>' +
    '<path d="M19.5 5H22v14h-2.5z"/></g></svg>'
});

export const panel: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-fx:panel',
  description: 'Endpoints, sessions and tasks in the left side bar; commands for remote cells.',
  autoStart: true,
  requires: [IFxLive, IFxRequests],
  optional: [
    INotebookTracker,
    ILabShell,
    ILayoutRestorer,
    ICommandPalette,
    IStatusBar,
    ITranslator
  ],
  activate: (
    app: JupyterFrontEnd,
    live: IFxLive,
    requests: IFxRequests,
    tracker: INotebookTracker | null,
    lab: ILabShell | null,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    statusBar: IStatusBar | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_fx');
    const front = new Front(tracker);
    const pathOf = (kernelId: string): string => {
      for (const session of app.serviceManager.sessions.running()) {
        if (session.kernel?.id === kernelId) {
          return session.path;
        }
      }
      return '';
    };
    const openPath = (path: string): void => void app.commands.execute('docmanager:open', { path });
    const shown = new FxPanel({ tasks: new Tasks(live), requests, front, trans, pathOf, openPath });
    shown.id = 'jupyter-fx-panel';
    shown.title.icon = icon;
    shown.title.caption = trans.__('Remote endpoints, sessions and tasks');
    if (lab !== null) {
      lab.add(shown, 'left', { rank: 450, type: 'Remote' });
      restorer?.add(shown, shown.id);
    }
    commands(app, front, palette, shown, trans.__('Remote cells'));
    if (statusBar !== null) {
      statusBar.registerStatusItem('jupyter-fx:status', {
        item: statusItem(app, live),
        align: 'left',
        rank: 60
      });
    }

    function commands(
      { commands: all, shell }: JupyterFrontEnd,
      at: Front,
      list: ICommandPalette | null,
      widget: Widget,
      category: string
    ): void {
      const trying = async (work: Promise<unknown>): Promise<void> => {
        try {
          await work;
        } catch (error) {
          Notification.error(error instanceof Error ? error.message : String(error), {
            autoClose: 8000
          });
        }
      };
      const pointed = (byMenu: boolean): void => {
        if (byMenu) {
          at.activate(app.contextMenuHitTest(node => node.classList.contains('jp-CodeCell')));
        }
      };
      const isEnabled = (): boolean => at.panel !== null;
      all.addCommand('jupyter-fx:open', {
        label: trans.__('Show Endpoints, Sessions and Tasks'),
        icon,
        execute: () => shell.activateById(widget.id)
      });
      all.addCommand('jupyter-fx:run-remote', {
        label: trans.__('Run This Cell Remotely'),
        caption: trans.__('Put %%remote above the cell and run it'),
        isEnabled,
        execute: args => {
          pointed(args.pointed === true);
          return trying(at.runRemote());
        }
      });
      all.addCommand('jupyter-fx:insert-remote', {
        label: trans.__('Insert %%remote'),
        isEnabled,
        execute: args => {
          pointed(args.pointed === true);
          at.markRemote();
        }
      });
      for (const command of [
        'jupyter-fx:open',
        'jupyter-fx:run-remote',
        'jupyter-fx:insert-remote'
      ]) {
        list?.addItem({ command, category });
      }
      const selector = '.jp-Notebook .jp-CodeCell';
      const args = { pointed: true };
      app.contextMenu.addItem({ command: 'jupyter-fx:run-remote', args, selector, rank: 20 });
      app.contextMenu.addItem({ command: 'jupyter-fx:insert-remote', args, selector, rank: 21 });
    }

    /** How many tasks are on their way; says nothing while nobody looks. */
    function statusItem({ commands: all }: JupyterFrontEnd, told: IFxLive): Widget {
      const item = new Widget();
      item.addClass('fx-status');
      const shownCount = button('', () => void all.execute('jupyter-fx:open'), {
        class: 'fx-link'
      });
      item.node.append(shownCount);
      const draw = (): void => {
        const running = (told.state?.endpoints ?? []).reduce((sum, one) => sum + one.running, 0);
        const waiting = (told.state?.endpoints ?? []).reduce(
          (sum, one) => sum + one.queued + one.leased,
          0
        );
        const gone = told.status !== null && !told.status.connected;
        const words = [
          running > 0 ? trans.__('%1 running', running) : '',
          waiting > 0 ? trans.__('%1 waiting', waiting) : ''
        ];
        const text = gone ? trans.__('no hub') : words.filter(Boolean).join(', ');
        say(shownCount, text === '' ? '' : `fx: ${text}`);
        item.setHidden(text === '');
      };
      told.stateChanged.connect(draw);
      told.statusChanged.connect(draw);
      draw();
      return item;
    }
  }
};
