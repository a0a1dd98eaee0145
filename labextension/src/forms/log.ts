/** The end of an agent's log. */

import { TranslationBundle } from '@jupyterlab/translation';

import { button, make } from '../dom';
import { IFxRequests } from '../tokens';
import { Page } from './page';

export class AgentLog extends Page {
  constructor(
    trans: TranslationBundle,
    private readonly _requests: IFxRequests,
    private readonly _name: string,
    leave: () => void
  ) {
    super(trans, trans.__('Log of %1', _name), leave);
    const again = button(trans.__('Read again'), () => void this._read());
    this.body.append(make('div', { class: 'fx-form-end' }, again));
    void this._read();
  }

  private async _read(): Promise<void> {
    try {
      const lines = await this._requests.agentLog(this._name);
      this.log(lines.length > 0 ? lines : [this.trans.__('It wrote nothing yet.')]);
    } catch (error) {
      this.trouble(error);
    }
  }
}
