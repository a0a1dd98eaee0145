/** The commands: in the palette, in menus, behind shortcuts (schema/settings.json), and of the toolbar's menu. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette, Notification } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { CommandRegistry } from '@lumino/commands';
import { ReadonlyPartialJSONObject } from '@lumino/coreutils';

import { closeSession } from './closing';
import { REMOTE } from './front/python';
import { icon } from './icon';
import { NewNotebook } from './newnotebook';
import { IFxFront, IFxLive, IFxRequests } from './tokens';
import { sentence, trying } from './trouble';

export const CommandIDs = {
  open: 'jupyter-fx:open',
  runRemote: 'jupyter-fx:run-remote',
  insertRemote: 'jupyter-fx:insert-remote',
  chooseEndpoint: 'jupyter-fx:choose-endpoint',
  useEndpoint: 'jupyter-fx:use-endpoint',
  newSession: 'jupyter-fx:new-session',
  closeSession: 'jupyter-fx:close-session',
  newNotebook: 'jupyter-fx:new-notebook'
} as const;

type Args = ReadonlyPartialJSONObject;
const text = (found: unknown): string => (typeof found === 'string' ? found : '');

export const commands: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-fx:commands',
  description: 'Commands for remote cells, endpoints and sessions.',
  autoStart: true,
  requires: [IFxFront, IFxLive, IFxRequests],
  optional: [ICommandPalette, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    front: IFxFront,
    live: IFxLive,
    requests: IFxRequests,
    palette: ICommandPalette | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_fx');
    const inNotebook = (): boolean => front.panel !== null;
    const session = (): string => front.session(live.state)?.session_id ?? '';
    const pointed = (args: Args): void => {
      if (args.pointed === true) {
        front.activate(app.contextMenuHitTest(node => node.classList.contains('jp-CodeCell')));
      }
    };
    const add = (id: string, options: CommandRegistry.ICommandOptions): void => {
      app.commands.addCommand(id, options);
    };
    add(CommandIDs.runRemote, {
      label: trans.__('Run This Cell Remotely'),
      caption: trans.__('Put %1 above the cell and run it', REMOTE),
      isEnabled: inNotebook,
      execute: args => {
        pointed(args);
        return trying(() => front.runRemote());
      }
    });
    add(CommandIDs.insertRemote, {
      label: trans.__('Insert %1', REMOTE),
      caption: trans.__('Put %1 above the cell', REMOTE),
      isEnabled: inNotebook,
      execute: args => {
        pointed(args);
        return front.markRemote();
      }
    });
    add(CommandIDs.useEndpoint, {
      label: args => text(args.label) || text(args.endpoint),
      caption: trans.__('Run the remote cells of this notebook there'),
      isEnabled: inNotebook,
      isToggleable: true,
      isToggled: args => text(args.endpoint) === front.endpoint(live.state),
      execute: args => trying(() => front.use(text(args.endpoint)))
    });
    add(CommandIDs.newSession, {
      label: trans.__('New Remote Session'),
      caption: trans.__(
        'Close this notebook’s session, if one is open, and begin with no variables'
      ),
      isEnabled: inNotebook,
      execute: async () => {
        const work = front.newSession().then(() => true);
        Notification.promise(work, {
          pending: { message: trans.__('Opening a remote session …') },
          success: {
            message: () => trans.__('A new session on %1', front.endpoint(live.state)),
            options: { autoClose: 4000 }
          },
          error: { message: error => sentence(error), options: { autoClose: 8000 } }
        });
        await work.catch(() => false);
      }
    });
    add(CommandIDs.closeSession, {
      label: trans.__('Close Remote Session …'),
      caption: trans.__('End this notebook’s session; its variables are lost'),
      isEnabled: () => session() !== '',
      execute: () => trying(() => closeSession(requests, session(), trans))
    });
    const maker = new NewNotebook(app, front, live, trans);
    add(CommandIDs.newNotebook, {
      label: args =>
        args.endpoint === undefined
          ? trans.__('New Notebook on an Endpoint …')
          : trans.__('Notebook on %1', text(args.endpoint)),
      caption: args =>
        args.endpoint === undefined
          ? trans.__('A new notebook whose remote cells run on the endpoint that you choose')
          : trans.__('A new notebook whose remote cells run on %1', text(args.endpoint)),
      icon: args => (args.isPalette === true ? undefined : icon),
      isEnabled: () => maker.possible,
      execute: args => trying(() => maker.make(text(args.endpoint), text(args.cwd)))
    });
    const category = trans.__('Remote cells');
    for (const command of [
      CommandIDs.runRemote,
      CommandIDs.insertRemote,
      CommandIDs.newSession,
      CommandIDs.closeSession
    ]) {
      // Without arguments, as the shortcuts are: else it would show none.
      palette?.addItem({ command, category });
    }
    palette?.addItem({ command: CommandIDs.newNotebook, category, args: { isPalette: true } });
  }
};
