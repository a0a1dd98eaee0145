/** Which hub this server uses: sign in at another one, or go back. The token goes to the server and is forgotten here. */

import { TranslationBundle } from '@jupyterlab/translation';

import { button, make, say } from '../dom';
import { IFxRequests, IStatus } from '../tokens';
import { Field } from './field';
import { Page } from './page';

export interface IHubPage {
  readonly trans: TranslationBundle;
  readonly requests: IFxRequests;
  readonly status: IStatus | null;
  readonly leave: () => void;
  readonly changed: () => void;
}

export class HubPage extends Page {
  private readonly _address: Field;
  private readonly _token: Field;
  private readonly _forget: Field;
  private readonly _buttons: HTMLButtonElement[];
  private readonly _state = make('span', { class: 'fx-faint', role: 'status' });

  constructor(private readonly _options: IHubPage) {
    super(_options.trans, _options.trans.__('The fx hub'), _options.leave);
    const { trans, status } = _options;
    const chosen = status?.hub === 'chosen';
    this._address = new Field({
      label: trans.__('Address of another hub'),
      help: trans.__('From its page or its administrator.'),
      kind: 'text',
      placeholder: 'https://',
      onChange: () => this._check()
    });
    this._token = new Field({
      label: trans.__('Token'),
      help: trans.__(
        'It is kept on the Jupyter server, in a file that only you can read, as “jupyter fx login” does. Empty: the one that is kept there already.'
      ),
      kind: 'password',
      onChange: () => undefined
    });
    this._forget = new Field({
      label: trans.__('Forget its token, too'),
      help: '',
      kind: 'check',
      onChange: () => undefined
    });
    const enter = button(trans.__('Sign in'), () => void this._signIn(), { class: 'fx-go' });
    const back = button(trans.__('Leave this hub'), () => void this._leaveHub());
    this._buttons = [enter, back];
    this.body.append(make('p', { class: 'fx-about-hub', text: this._about() }));
    if (chosen) {
      this.body.append(this._forget.node, make('div', { class: 'fx-form-end' }, back));
    }
    this.body.append(
      this._address.node,
      this._token.node,
      make('div', { class: 'fx-form-end' }, enter, this._state),
      make('p', {
        class: 'fx-help',
        text: trans.__('Notebooks that run already keep their hub until their kernel is restarted.')
      })
    );
    this.node.addEventListener('keydown', event => {
      if (event.key === 'Enter' && event.target instanceof HTMLInputElement) {
        event.preventDefault();
        void this._signIn();
      }
    });
  }

  private _about(): string {
    const { trans, status } = this._options;
    const how = status?.connected === true ? trans.__('You are %1 there.', status.user) : '';
    const where = {
      own: trans.__('This server uses a hub of its own, on its machine.'),
      configured: trans.__('This server’s configuration names the hub %1.', status?.address ?? ''),
      chosen: trans.__('You have chosen the hub %1.', status?.address ?? '')
    };
    return `${where[status?.hub ?? 'own']} ${how}`.trim();
  }

  private _check(): boolean {
    const text = this._address.text.trim();
    const good = /^(https?|wss?):\/\/[^/\s@]+(\/\S*)?$/.test(text);
    this._address.problem = good
      ? ''
      : this._options.trans.__('it is written https://HOST or https://HOST/PATH');
    return good;
  }

  private async _signIn(): Promise<void> {
    const { trans, requests } = this._options;
    if (this._buttons.some(one => one.disabled)) {
      return;
    }
    if (!this._check()) {
      this._address.input.focus();
      return;
    }
    say(this._state, trans.__('Asking the hub …'));
    const token = this._token.text;
    this._token.text = '';
    await this._do(() => requests.signIn(this._address.text.trim(), token));
  }

  private async _leaveHub(): Promise<void> {
    await this._do(() => this._options.requests.leaveHub(this._forget.text === 'true'));
  }

  private async _do(work: () => Promise<unknown>): Promise<void> {
    this.trouble();
    this._buttons.forEach(one => (one.disabled = true));
    try {
      await work();
      this._options.changed();
      this.done();
    } catch (error) {
      this.trouble(error);
    } finally {
      this._buttons.forEach(one => (one.disabled = false));
      say(this._state, '');
    }
  }
}
