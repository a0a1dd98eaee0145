/**
 * The renderer of a card: live through the server, whatever the kernel does.
 *
 * While the kernel feeds the cell, the cell's own output is complete and the card follows states alone. When it does not
 * (the page was reloaded, the kernel restarted, the notebook reopened) the card shows what the task prints, and writes
 * into the notebook how it ended. A notebook that is not trusted sends nothing before its reader asks for it.
 */

import { Clipboard } from '@jupyterlab/apputils';
import { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { TranslationBundle } from '@jupyterlab/translation';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { make } from '../dom';
import { LiveTask, Tasks } from '../tasks';
import { IFxRequests } from '../tokens';
import { Card } from '../types/card';
import { Deeds } from './deeds';
import { IKeeper } from './keep';
import { LogPane } from './logpane';
import { ended, MIME, readCard } from './read';
import { timeless } from './reduce';
import { beat, CardView, ISituation } from './view';
import { Where } from './where';
import { bundle, tail } from './write';

/** Milliseconds that a kernel which feeds the card has to write down its end itself. */
const KERNEL_WRITES = 5000;
/** Milliseconds between two drawings of what goes on: more often nobody can read it. A kernel tells a little less often. */
const PACE = 200;
const now = (): number => Date.now() / 1000;
const said = ({ card, heard, missing, complete }: LiveTask): string =>
  JSON.stringify([timeless(card), heard, missing, complete]);
const isTask = (card: Card): boolean => card.kind === 'cell' || card.kind === 'call';

export interface ICardServices {
  readonly tasks: Tasks;
  readonly requests: IFxRequests;
  readonly where: Where;
  readonly keep: IKeeper;
  readonly trans: TranslationBundle;
  /** Tell whoever looks elsewhere that it has ended. */
  readonly announce: (card: Card) => void;
}

export class CardRenderer extends Widget implements IRenderMime.IRenderer {
  private _model: IRenderMime.IMimeModel | null = null;
  private _task: LiveTask | null = null;
  private _view: CardView | null = null;
  private readonly _pane: LogPane;
  private readonly _trans: TranslationBundle;
  private readonly _deeds: Deeds;
  private _asked = false;
  private _opened: boolean | null = null;
  private _endedAt = 0;
  /** Whether it was seen to run: only then its end is news. */
  private _ran = false;
  private _timer = 0;
  private _drawnAt = 0;
  private _drawnState = '';
  private _drawn = '';
  /** Seconds by which the kernel's clock may differ from ours: elapsed time goes on from what it said. */
  private _base: { elapsed: number; at: number } = { elapsed: 0, at: 0 };

  constructor(private readonly _services: ICardServices) {
    super();
    this.addClass('fx-output');
    this._trans = _services.trans;
    this._deeds = new Deeds(_services.requests, this._trans, () => this._refresh());
    this._pane = new LogPane(this._trans, () => this._do(card => this._deeds.download(card)));
    this._services.tasks.live.statusChanged.connect(this._refresh, this);
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    const card = readCard(model.data[MIME]);
    if (card === null) {
      const text = model.data['text/plain'];
      const said = Array.isArray(text) ? text.join('') : typeof text === 'string' ? text : '';
      this.node.replaceChildren(
        make('pre', { text: said || this._trans.__('A card that cannot be read') })
      );
      return Promise.resolve();
    }
    // What a saved card says has gone on since, whoever looked.
    const since = ended(card.state) ? 0 : Math.max(0, now() - card.as_of);
    this._base = { elapsed: card.elapsed + since, at: now() };
    if (this._task === null || this._task.card.task_id !== card.task_id) {
      this._leave();
      this._task = this._services.tasks.take(card);
      this._task.changed.connect(this._soon, this);
      this._view = new CardView(
        this._trans,
        {
          cancel: () => this._do(card => this._deeds.cancel(card)),
          kill: () => this._do(card => this._deeds.kill(card)),
          log: () => this._toggleLog(),
          look: () => this._ask(),
          copy: () => Clipboard.copyToSystem(card.task_id)
        },
        this._pane.node
      );
      this.node.replaceChildren(this._view.node);
      this._refresh();
    } else {
      this._task.offer(card); // which says that it has changed
    }
    return Promise.resolve();
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this._leave();
      this._pane.dispose();
      this._services.tasks.live.statusChanged.disconnect(this._refresh, this);
      super.dispose();
    }
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._refresh();
  }

  private _leave(): void {
    window.clearTimeout(this._timer);
    if (this._task !== null) {
      this._task.changed.disconnect(this._soon, this);
      this._services.tasks.leave(this._task);
      this._task = null;
    }
  }

  private get _fed(): boolean {
    return this.isAttached && this._services.where(this.node).fed;
  }

  /** Whether the hub may be asked about it: its notebook is trusted, or its reader has clicked. */
  private get _may(): boolean {
    return this._asked || this._model?.trusted === true;
  }

  /** Draw what has changed: a new state at once, anything else when it is time. Time itself passes with its clock. */
  private _soon(): void {
    const task = this._task;
    if (task !== null && !task.output && this._timer !== 0 && said(task) === this._drawn) {
      return;
    }
    const wait = this._drawnAt + PACE - performance.now();
    if (wait <= 0 || this._task?.card.state !== this._drawnState) {
      this._refresh();
    } else {
      window.clearTimeout(this._timer);
      this._timer = window.setTimeout(() => this._refresh(), wait);
    }
  }

  private _refresh(): void {
    const task = this._task;
    if (task === null || this._view === null || !this.isAttached) {
      return;
    }
    const card = task.card;
    this._drawnAt = performance.now();
    this._drawnState = card.state;
    this._drawn = said(task);
    const over = ended(card.state);
    const fed = this._fed;
    const single = isTask(card);
    if (!over && fed) {
      this._services.tasks.sawRun(card.task_id);
    }
    this._ran ||= over
      ? fed && this._services.tasks.ran(card.task_id)
      : fed || (task.following && task.heard);
    const open = this._opened ?? (single && !fed && !over && this._may);
    if (single && this._may && (!over || open)) {
      task.follow(open);
    } else if (card.kind === 'map' && this._may && !over && !fed) {
      task.follow(false);
    }
    if (over && this._endedAt === 0) {
      this._endedAt = now();
      this._deeds.cancelling = false;
      // The hub tells the end before the kernel has told how long it took.
      const elapsed = Math.max(card.elapsed, this._base.elapsed + (now() - this._base.at));
      if (this._ran && this._may && (card.notify ?? 0) > 0 && elapsed >= (card.notify ?? 0)) {
        this._services.announce({ ...card, elapsed });
      }
    }
    if (over && this._opened === null && task.output) {
      this._opened = true;
    }
    this._view.update(card, this._situation(task, fed, open || this._opened === true));
    this._pane.node.hidden = !(open || this._opened === true);
    if (!this._pane.node.hidden) {
      this._pane.update(task.lines, this._emptyWords(task));
    }
    this._writeBack(task, fed);
    this._services.keep.saw(card.task_id, over && !this._unwritten(card), this.node);
    this._again(task);
  }

  private _emptyWords(task: LiveTask): string {
    if (task.missing !== '') {
      return '';
    }
    const over = task.complete || (ended(task.card.state) && task.heard);
    return over ? this._trans.__('It printed nothing.') : this._trans.__('Nothing printed yet.');
  }

  private _situation(task: LiveTask, fed: boolean, open: boolean): ISituation {
    const card = task.card;
    const over = ended(card.state);
    const single = isTask(card);
    // Of a wait the hub knows nothing: its tasks are there.
    const known = single || card.kind === 'map';
    const status = this._services.tasks.live.status;
    const linked = task.following && status?.connected === true;
    const current = !over && task.missing === '' && (fed || (linked && task.heard));
    const { cancelling } = this._deeds;
    let trouble = this._deeds.trouble || task.missing;
    if (trouble === '' && !over && task.following && status !== null && !status.connected) {
      trouble = status.problem;
    }
    const stubborn = (card.interrupts ?? 0) > 0 || (cancelling && this._deeds.trouble === '');
    const may = known && !over && this._may && task.missing === '';
    const kill = card.session !== undefined && stubborn;
    return {
      elapsed: current ? this._base.elapsed + (now() - this._base.at) : card.elapsed,
      current,
      trouble,
      offer: known && !over && !this._may ? 'look' : 'none',
      cancel: may ? (kill ? 'kill' : 'cancel') : 'none',
      cancelling,
      log:
        single && (this._may || open) && task.missing === '' ? (open ? 'open' : 'closed') : 'none'
    };
  }

  /** Look again while it goes on: time passes, and the kernel may stop feeding it. */
  private _again(task: LiveTask): void {
    window.clearTimeout(this._timer);
    this._timer = 0;
    const unwritten = this._endedAt > 0 && this._unwritten(task.card);
    if (!ended(task.card.state) || unwritten) {
      const elapsed = this._base.elapsed + (now() - this._base.at);
      this._timer = window.setTimeout(
        () => this._refresh(),
        (unwritten ? 1 : beat(elapsed)) * 1000
      );
    }
  }

  private _unwritten(card: Card): boolean {
    if (!ended(card.state)) {
      return false;
    }
    const saved = readCard(this._model?.data[MIME]);
    return saved !== null && !ended(saved.state);
  }

  /** Let the saved file say how it ended, if the kernel does not. */
  private _writeBack(task: LiveTask, fed: boolean): void {
    const model = this._model;
    if (model === null || !this._may || !this._unwritten(task.card)) {
      return;
    }
    const waited = (now() - this._endedAt) * 1000;
    if ((fed && waited < KERNEL_WRITES) || this._services.where(this.node).readOnly) {
      return;
    }
    const card: Card = { ...task.card, as_of: now() };
    if (task.output && task.lines.count > 0) {
      card.tail = tail(task.lines.all.map(line => line.text));
    }
    this._services.keep.quietly(this.node, () => {
      model.setData({ data: { ...model.data, ...bundle(card, now()) } });
    });
  }

  // --- what its buttons do ---

  private _ask(): void {
    this._asked = true;
    this._refresh();
  }

  private _do(deed: (card: Card) => Promise<void>): void {
    if (this._task !== null) {
      void deed(this._task.card);
    }
  }

  private _toggleLog(): void {
    this._opened = this._pane.node.hidden;
    this._refresh();
  }
}
