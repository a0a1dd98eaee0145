/** A session in the panel. */

import { button, say } from '../dom';
import { bytes, duration } from '../format';
import { sessionState } from '../states';
import { ISessionInfo } from '../tokens';
import { IRow } from './rows';
import { IContext, number, Parts, word } from './sections';

export class SessionRow implements IRow<ISessionInfo> {
  private readonly _parts = new Parts();
  private readonly _open: HTMLButtonElement;
  private _item: ISessionInfo;
  /** When it was told how long it has been idle. */
  private _told: number;

  constructor(
    private readonly _context: IContext,
    item: ISessionInfo
  ) {
    const { trans, does, now } = _context;
    this._item = item;
    this._told = now();
    this._open = button(trans.__('Open'), () => does.openNotebook(this._item.kernel_id), {
      title: trans.__('Open its notebook')
    });
    const renew = button(trans.__('Renew'), () => does.renew(this._item), {
      title: trans.__('Begin its idle time anew')
    });
    const close = button(trans.__('Close'), () => does.close(this._item), {
      title: trans.__('End it; its variables are lost')
    });
    this._parts.actions.append(this._open, renew, close);
    this._parts.node.append(this._parts.actions);
  }

  get node(): HTMLElement {
    return this._parts.node;
  }

  update(item: ISessionInfo): void {
    const { trans, pathOf, now } = this._context;
    if (item !== this._item) {
      this._told = now();
    }
    this._item = item;
    const path = pathOf(item.kernel_id);
    this.node.dataset.state = item.state === 'OPEN' ? (item.busy ? 'busy' : 'good') : 'held';
    const title = (path || item.notebook).split('/').at(-1) ?? '';
    say(this._parts.name, title || trans.__('a kernel without a notebook'));
    this._parts.name.title = path;
    say(this._parts.state, `${item.endpoint}${item.name === 'main' ? '' : ` · ${item.name}`}`);
    const words = [this._clock(), this._memory(), ...this._place(), item.reason];
    say(this._parts.about, words.filter(Boolean).join(' · '));
    this._open.hidden = path === '';
  }

  private _clock(): string {
    const { trans, now } = this._context;
    const item = this._item;
    if (item.state !== 'OPEN') {
      return sessionState(item.state, trans);
    }
    if (item.busy) {
      return trans.__('busy');
    }
    const idle = trans.__('idle for %1', duration(item.idle + now() - this._told, trans));
    const ends = item.ends_at === null ? '' : duration(item.ends_at - now(), trans);
    return ends === '' ? idle : `${idle}, ${trans.__('ends in %1', ends)}`;
  }

  private _memory(): string {
    const { trans } = this._context;
    const used = number(this._item.memory);
    const most = number(this._item.resources?.memory);
    if (used === 0) {
      return '';
    }
    return most > 0
      ? trans.__('memory %1 of %2', bytes(used, trans), bytes(most, trans))
      : trans.__('memory %1', bytes(used, trans));
  }

  /** Image, GPUs, process. */
  private _place(): string[] {
    const { trans } = this._context;
    const { info, resources } = this._item;
    const image = word(info.image) || word(resources?.environment);
    const gpus = Array.isArray(info.gpus) ? info.gpus.map(word).join(', ') : '';
    const asked = number(resources?.gpus);
    const gpu = gpus !== '' ? trans.__('GPU %1', gpus) : trans._n('%1 GPU', '%1 GPUs', asked);
    const pid = number(info.pid);
    return [
      image,
      gpus !== '' || asked > 0 ? gpu : '',
      pid > 0 ? trans.__('worker process %1', pid) : ''
    ];
  }
}
