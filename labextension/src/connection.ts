/** The plugins that give the others their way to the server. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { Live } from './live';
import { Requests } from './requests';
import { IFxLive, IFxRequests } from './tokens';

export const requests: JupyterFrontEndPlugin<IFxRequests> = {
  id: 'jupyter-fx:requests',
  description: 'Asks the fx hub through the Jupyter server.',
  autoStart: true,
  provides: IFxRequests,
  activate: (app: JupyterFrontEnd) => new Requests(app.serviceManager.serverSettings)
};

export const live: JupyterFrontEndPlugin<IFxLive> = {
  id: 'jupyter-fx:live',
  description: 'Follows tasks and the state of the fx hub.',
  autoStart: true,
  provides: IFxLive,
  activate: (app: JupyterFrontEnd) => {
    const asks = new Requests(app.serviceManager.serverSettings);
    return new Live(() => asks.socket());
  }
};
