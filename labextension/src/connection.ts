/** The plugins that give the others their way to the server. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Live } from './live';
import { Requests } from './requests';
import { IFxLive, IFxRequests } from './tokens';

function made(app: JupyterFrontEnd, translator: ITranslator | null): Requests {
  const trans = (translator ?? nullTranslator).load('jupyter_fx');
  return new Requests(app.serviceManager.serverSettings, trans);
}

export const requests: JupyterFrontEndPlugin<IFxRequests> = {
  id: 'jupyter-fx:requests',
  description: 'Asks the fx hub through the Jupyter server.',
  autoStart: true,
  provides: IFxRequests,
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null) => made(app, translator)
};

export const live: JupyterFrontEndPlugin<IFxLive> = {
  id: 'jupyter-fx:live',
  description: 'Follows tasks and the state of the fx hub.',
  autoStart: true,
  provides: IFxLive,
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null) => {
    const asks = made(app, translator);
    return new Live(() => asks.socket());
  }
};
