/** The status bar's item: how many tasks run and wait. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ITranslator, nullTranslator, TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { CommandIDs } from './commands';
import { button, say } from './dom';
import { lookWhileSeen } from './looking';
import { counts } from './offers';
import { IFxLive } from './tokens';

class StatusItem extends Widget {
  private readonly _button: HTMLButtonElement;

  constructor(
    private readonly _live: IFxLive,
    private readonly _trans: TranslationBundle,
    open: () => void
  ) {
    super();
    this.addClass('fx-status');
    this._button = button('', open, { class: 'fx-link' });
    this.node.append(this._button);
    _live.stateChanged.connect(this._draw, this);
    _live.statusChanged.connect(this._draw, this);
    this._draw();
  }

  private _draw(): void {
    const { state, status } = this._live;
    const gone = status !== null && !status.connected && state !== null;
    const text = gone ? this._trans.__('no hub') : counts(state, this._trans);
    say(this._button, text === '' ? '' : this._trans.__('Remote: %1', text));
    this._button.title = this._trans.__('Remote tasks; a click shows them in the panel');
    this.setHidden(text === '');
  }
}

export const status: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-fx:status',
  description: 'Shows in the status bar how many remote tasks run.',
  autoStart: true,
  requires: [IFxLive],
  optional: [IStatusBar, ITranslator],
  activate: (
    app: JupyterFrontEnd,
    live: IFxLive,
    statusBar: IStatusBar | null,
    translator: ITranslator | null
  ) => {
    if (statusBar === null) {
      return; // Notebook 7 has none
    }
    const trans = (translator ?? nullTranslator).load('jupyter_fx');
    const open = (): void => void app.commands.execute(CommandIDs.open);
    const item = new StatusItem(live, trans, open);
    statusBar.registerStatusItem('jupyter-fx:status', { item, align: 'left', rank: 60 });
    lookWhileSeen(live);
  }
};
