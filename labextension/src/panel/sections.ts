/** Rows of the panel: endpoints and sessions. */

import { TranslationBundle } from '@jupyterlab/translation';

import { count } from '../card/words';
import { button, make, say } from '../dom';
import { bytes, duration } from '../format';
import { isRecord } from '../requests';
import { Tasks } from '../tasks';
import { IEndpointInfo, ISessionInfo, ITaskInfo } from '../tokens';
import { IRow } from './rows';
import { Spark } from './spark';

/** What rows may do; each gives a promise that fails with a sentence. */
export interface IDoes {
  use(endpoint: string): void;
  openNotebook(kernelId: string): void;
  renew(session: ISessionInfo): void;
  close(session: ISessionInfo): void;
  cancel(task: ITaskInfo): void;
  attach(task: ITaskInfo): void;
  copy(task: ITaskInfo): void;
  download(task: ITaskInfo): void;
}

export interface IContext {
  readonly trans: TranslationBundle;
  readonly does: IDoes;
  readonly tasks: Tasks;
  readonly now: () => number;
  /** Name of the endpoint that the notebook in front uses; empty: unknown. */
  readonly used: () => string;
  readonly hasNotebook: () => boolean;
  readonly pathOf: (kernelId: string) => string;
}

export function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

export function word(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value).slice(0, 300) : '';
}

export class Parts {
  readonly dot = make('span', { class: 'fx-dot' });
  readonly name = make('span', { class: 'fx-name' });
  readonly state = make('span', { class: 'fx-faint fx-row-state' });
  readonly about = make('div', { class: 'fx-faint fx-about' });
  readonly actions = make('span', { class: 'fx-actions' });
  readonly head = make('div', { class: 'fx-row-head' }, this.dot, this.name, this.state);
  readonly node = make('li', { class: 'fx-item' }, this.head, this.about);

  constructor() {
    this.dot.setAttribute('aria-hidden', 'true');
  }
}

export class EndpointRow implements IRow<IEndpointInfo> {
  private readonly _parts = new Parts();
  private readonly _spark = new Spark();
  private readonly _use: HTMLButtonElement;
  private readonly _blocks = make('ul', { class: 'fx-blocks' });
  private _name = '';

  constructor(private readonly _context: IContext) {
    const { trans, does } = _context;
    this._use = button(trans.__('Use'), () => does.use(this._name), {
      title: trans.__('Run the remote cells of the notebook in front here')
    });
    this._parts.head.append(this._spark.node, this._use);
    this._parts.node.append(this._blocks);
  }

  get node(): HTMLElement {
    return this._parts.node;
  }

  update(item: IEndpointInfo): void {
    const { trans, used, hasNotebook } = this._context;
    this._name = item.name;
    const online = item.state === 'ONLINE';
    const ready = online && item.why === '';
    this.node.dataset.state = ready
      ? 'good'
      : online || item.state === 'UNREACHABLE'
        ? 'held'
        : 'off';
    say(this._parts.name, item.name);
    say(this._parts.state, ready ? trans.__('ready') : item.state.toLowerCase());
    this._spark.push(item.running + item.queued + item.leased);
    const mine = used() === item.name;
    this._use.hidden = !hasNotebook();
    this._use.disabled = mine;
    this._use.setAttribute('aria-pressed', String(mine));
    say(this._use, mine ? trans.__('In use') : trans.__('Use'));
    say(this._parts.about, [item.why, ...this._workers(item)].filter(Boolean).join(' · '));
    this._drawBlocks(item.info.blocks);
  }

  private _workers(item: IEndpointInfo): string[] {
    const { trans } = this._context;
    const workers = isRecord(item.info.workers) ? item.info.workers : {};
    const [busy, idle] = [number(workers.busy), number(workers.idle)];
    const words = busy + idle > 0 ? [trans.__('%1 busy, %2 idle', busy, idle)] : [];
    const backlog = item.queued + item.leased;
    if (backlog > 0) {
      words.push(trans._n('%2 task waits', '%2 tasks wait', backlog, count(backlog)));
    }
    if (item.running > 0) {
      words.push(trans.__('%1 running', count(item.running)));
    }
    return words;
  }

  private _drawBlocks(found: unknown): void {
    const blocks: unknown[] = Array.isArray(found) ? found : [];
    const texts = blocks
      .filter(isRecord)
      .slice(0, 50)
      .map(block => {
        const left = number(block.left);
        const words = [word(block.job), word(block.state), word(block.reason)];
        return [...words, left > 0 ? this._context.trans.__('%1 left', duration(left)) : '']
          .filter(Boolean)
          .join(' · ');
      });
    if (this._blocks.dataset.key !== texts.join('\n')) {
      this._blocks.dataset.key = texts.join('\n');
      this._blocks.replaceChildren(...texts.map(text => make('li', { class: 'fx-faint', text })));
    }
    this._blocks.hidden = texts.length === 0;
  }
}

export class SessionRow implements IRow<ISessionInfo> {
  private readonly _parts = new Parts();
  private readonly _open: HTMLButtonElement;
  private _item: ISessionInfo;

  constructor(
    private readonly _context: IContext,
    item: ISessionInfo
  ) {
    const { trans, does } = _context;
    this._item = item;
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
    this._item = item;
    const path = pathOf(item.kernel_id);
    this.node.dataset.state = item.state === 'OPEN' ? (item.busy ? 'busy' : 'good') : 'held';
    const title = (path || item.notebook).split('/').at(-1) ?? '';
    say(this._parts.name, title || trans.__('a kernel without a notebook'));
    this._parts.name.title = path;
    say(this._parts.state, `${item.endpoint}${item.name === 'main' ? '' : ` · ${item.name}`}`);
    const rss = number(item.info.rss);
    const ends =
      item.ends_at === null ? '' : trans.__('ends in %1', duration(item.ends_at - now()));
    const idle = item.busy ? trans.__('busy') : trans.__('idle for %1', duration(item.idle));
    const state = item.state === 'OPEN' ? idle : item.state.toLowerCase();
    say(
      this._parts.about,
      [state, ends, rss > 0 ? bytes(rss) : '', item.reason].filter(Boolean).join(' · ')
    );
    this._open.hidden = path === '';
  }
}
