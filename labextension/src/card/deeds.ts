/** What the buttons of a card do, by REST; and what is said when that fails. */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

import { save } from '../save';
import { IFxRequests } from '../tokens';
import { Card } from '../types/card';

/** How often a map whose tasks all came back meanwhile is cancelled again, and milliseconds in between. */
const AGAIN = 5;
const SOON = 300;

export class Deeds {
  /** Whether it was asked to stop, and has not ended yet. */
  cancelling = false;
  /** Why the last of them failed; empty when none did. */
  trouble = '';

  constructor(
    private readonly _requests: IFxRequests,
    private readonly _trans: TranslationBundle,
    private readonly _changed: () => void
  ) {}

  async cancel(card: Card): Promise<void> {
    this.cancelling = true;
    await this._try(
      card.kind === 'map' ? this._cancelMap(card) : this._requests.cancel(card.task_id, 'cancel')
    );
  }

  /** Its kernel sends no more of a map of which something was cancelled: there must be something. */
  private async _cancelMap(card: Card): Promise<void> {
    for (let turn = 0; turn < AGAIN; turn++) {
      if ((await this._requests.cancelGroup(card.task_id)) > 0) {
        return;
      }
      await new Promise(resolve => window.setTimeout(resolve, SOON));
    }
    throw new Error(this._trans.__('Nothing of it was under way: there was nothing to cancel.'));
  }

  /** End its session with all variables, if its reader is sure. */
  async kill(card: Card): Promise<void> {
    const { session } = card;
    if (session === undefined) {
      return;
    }
    const sure = await showDialog({
      title: this._trans.__('Kill the session?'),
      body: this._trans.__('Its process is ended at once, and all variables in it are lost.'),
      buttons: [
        Dialog.cancelButton({ label: this._trans.__('Cancel') }),
        Dialog.warnButton({ label: this._trans.__('Kill') })
      ]
    });
    if (sure.button.accept) {
      await this._try(this._requests.closeSession(session.id, true));
    }
  }

  /** Save its log as a file. */
  async download(card: Card): Promise<void> {
    await this._try(save(this._requests, card.task_id));
  }

  private async _try(work: Promise<unknown>): Promise<void> {
    this.trouble = '';
    this._changed();
    try {
      await work;
    } catch (error) {
      this.cancelling = false;
      this.trouble = error instanceof Error ? error.message : String(error);
    }
    this._changed();
  }
}
