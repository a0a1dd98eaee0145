/** The notebook toolbar's item: where its remote cells run. A click opens the menu. */

import { NotebookPanel } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { make, say } from '../dom';
import { icon } from '../icon';
import { lookWhileSeen } from '../looking';
import { IFxFront, IFxLive } from '../tokens';
import { ISituation, words } from './words';

/** Milliseconds between looks at the clock: it shows minutes. */
const PASS = 10_000;
const now = (): number => Date.now() / 1000;

export interface IItemServices {
  readonly front: IFxFront;
  readonly live: IFxLive;
  readonly trans: TranslationBundle;
  /** Open the menu below this node. */
  readonly menu: (below: HTMLElement) => void;
}

export class WhereItem extends Widget {
  private readonly _button = make('button', { class: 'fx-where' });
  private readonly _name = make('span', { class: 'fx-where-name' });
  private readonly _state = make('span', { class: 'fx-where-state' });
  private _looking: IDisposable | null = null;
  private _timer = 0;

  constructor(
    private readonly _panel: NotebookPanel,
    private readonly _services: IItemServices
  ) {
    super();
    this.addClass('fx-toolbar');
    const mark = make('span', { class: 'fx-where-icon' });
    mark.setAttribute('aria-hidden', 'true');
    icon.element({ container: mark, stylesheet: 'toolbarButton' });
    const dot = make('span', { class: 'fx-where-dot' });
    dot.setAttribute('aria-hidden', 'true');
    this._button.type = 'button';
    this._button.setAttribute('aria-haspopup', 'menu');
    this._button.append(mark, this._name, dot, this._state);
    this._button.addEventListener('click', () => this.open());
    this.node.append(this._button);
  }

  /** Open its menu. */
  open(): void {
    this._services.menu(this._button);
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    const { live, front } = this._services;
    live.stateChanged.connect(this._draw, this);
    live.statusChanged.connect(this._draw, this);
    front.changed.connect(this._draw, this);
    this._looking ??= lookWhileSeen(live);
    window.clearInterval(this._timer);
    this._timer = window.setInterval(() => this._draw(), PASS);
    this._draw();
  }

  protected override onBeforeDetach(message: Message): void {
    super.onBeforeDetach(message);
    const { live, front } = this._services;
    live.stateChanged.disconnect(this._draw, this);
    live.statusChanged.disconnect(this._draw, this);
    front.changed.disconnect(this._draw, this);
    window.clearInterval(this._timer);
    this._looking?.dispose();
    this._looking = null;
  }

  private _draw(): void {
    const { trans, front } = this._services;
    this.setHidden(!front.possible(this._panel));
    if (!this.isVisible || document.hidden) {
      return;
    }
    const situation = this._situation();
    const { tone, state, about } = words(situation, trans);
    say(this._name, situation.endpoint || trans.__('Remote'));
    say(this._state, state);
    this._state.hidden = state === '';
    this._button.dataset.tone = tone;
    if (this._button.title !== about) {
      this._button.title = about;
    }
    // It begins with what is seen: who speaks to a computer says what they read.
    const seen = `${this._name.textContent} ${state}`.trim();
    const label = trans.__('%1: where remote cells run', seen);
    if (this._button.getAttribute('aria-label') !== label) {
      this._button.setAttribute('aria-label', label);
    }
  }

  private _situation(): ISituation {
    const { front, live } = this._services;
    const { state, status } = live;
    const endpoint = front.endpoint(state, this._panel);
    return {
      endpoint,
      pending: front.pending(this._panel),
      session: front.session(state, this._panel),
      info:
        state?.endpoints === undefined ? null : state.endpoints.find(one => one.name === endpoint),
      status,
      at: state?.at ?? 0,
      now: now()
    };
  }
}
