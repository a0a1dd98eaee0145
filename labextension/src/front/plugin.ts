/** Gives the others the notebooks of this page. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { INotebookTracker } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { IFxFront, IFxLive, IFxSettings } from '../tokens';
import { Front } from './front';

export const front: JupyterFrontEndPlugin<IFxFront> = {
  id: 'jupyter-fx:front',
  description: 'Knows where the remote cells of each notebook run.',
  autoStart: true,
  requires: [IFxLive, IFxSettings],
  optional: [INotebookTracker, ITranslator],
  provides: IFxFront,
  activate: (
    _app: JupyterFrontEnd,
    live: IFxLive,
    settings: IFxSettings,
    tracker: INotebookTracker | null,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_fx');
    const trouble = (message: string): void => {
      Notification.warning(
        trans.__('This notebook’s endpoint could not be chosen: %1', message).slice(0, 300),
        { autoClose: 12000 }
      );
    };
    return new Front({ tracker, live, settings, trans, trouble });
  }
};
