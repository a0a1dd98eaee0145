/** Draws `application/vnd.jupyter-fx.task+json` wherever JupyterLab shows outputs. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { INotebookTracker } from '@jupyterlab/notebook';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { Tasks } from '../tasks';
import { IFxLive, IFxNotices, IFxRequests } from '../tokens';
import { Card } from '../types/card';
import { noticeOf } from './announce';
import { autosaves, Keeper } from './keep';
import { MIME } from './read';
import { CardRenderer } from './renderer';
import { whereIn } from './where';

/** Before the widget view (0), after nothing: lower ranks are preferred. */
const RANK = -20;

export const cards: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-fx:cards',
  description: 'Draws the cards of remote tasks.',
  autoStart: true,
  requires: [IRenderMimeRegistry, IFxLive, IFxRequests, IFxNotices],
  optional: [INotebookTracker, ITranslator, ISettingRegistry],
  activate: (
    _app: JupyterFrontEnd,
    registry: IRenderMimeRegistry,
    live: IFxLive,
    requests: IFxRequests,
    notices: IFxNotices,
    tracker: INotebookTracker | null,
    translator: ITranslator | null,
    settings: ISettingRegistry | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_fx');
    const services = {
      tasks: new Tasks(live, trans),
      requests,
      where: whereIn(tracker),
      keep: new Keeper(tracker, autosaves(settings)),
      trans,
      announce: (card: Card) => notices.tell(noticeOf(card))
    };
    registry.addFactory(
      { safe: true, mimeTypes: [MIME], createRenderer: () => new CardRenderer(services) },
      RANK
    );
  }
};
