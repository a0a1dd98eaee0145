/** What this tab knows of tasks: each is followed once, however many cards and lists show it. */

import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { grouped, Pace } from './card/mapping';
import { informed, newer, told } from './card/reduce';
import { ended } from './card/read';
import { Lines } from './lines';
import { IFxLive, IGroupInfo, IGroupSink, ISink, ITaskInfo, Row } from './tokens';
import { Card } from './types/card';

const now = (): number => Date.now() / 1000;

/** One task, or map. Made by `Tasks.take`, given back with `Tasks.leave`. */
export class LiveTask implements ISink, IGroupSink {
  readonly lines = new Lines();
  /** Why the hub knows nothing of it; empty while it may. */
  missing = '';
  /** Whether the hub has said anything of it to this tab. */
  heard = false;
  /** Whether everything that it printed is here: its story was told to its end. */
  complete = false;
  private _next = 0;
  private _output = false;
  private _following: IDisposable | null = null;
  private readonly _pace = new Pace();
  private readonly _changed = new Signal<this, void>(this);

  constructor(
    private readonly _live: IFxLive,
    private readonly _trans: TranslationBundle,
    private _card: Card
  ) {}

  get card(): Card {
    return this._card;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Whether what it prints is told. */
  get output(): boolean {
    return this._output;
  }

  get following(): boolean {
    return this._following !== null;
  }

  /** A snapshot from the notebook. */
  offer(card: Card): void {
    this._card = newer(this._card, card);
    this._changed.emit();
  }

  /** Hear of it; with `output` of everything that it printed, too. A map has no output. */
  follow(output: boolean): void {
    if (this._card.kind === 'map') {
      this._following ??= this._live.followGroup(this._card.task_id, this);
      return;
    }
    if (this._following !== null && (this._output || !output)) {
      return;
    }
    if (output && !this._output) {
      this._next = 0;
      this.lines.clear();
    }
    this._output = output;
    this._following?.dispose();
    this._following = this._live.follow(this._card.task_id, output, () => this._next, this);
  }

  stop(): void {
    this._following?.dispose();
    this._following = null;
    this._output = false;
  }

  events(rows: readonly Row[], dropped: number): void {
    this.heard = true;
    if (dropped > 0) {
      this._gap(dropped);
    }
    for (const row of rows) {
      const [n, kind, , data] = row;
      if (this._output) {
        if (n < this._next) {
          continue; // another one here asked for the story from its beginning
        }
        this._next = n + 1;
        if ((kind === 'stdout' || kind === 'stderr') && typeof data === 'string') {
          this.lines.append(data, kind === 'stderr');
        } else if (kind === 'note') {
          this._note(data);
        }
      }
      this._card = told(this._card, row, now());
    }
    this._changed.emit();
  }

  private _note(data: unknown): void {
    const lines = typeof data === 'object' && data !== null && 'lines' in data ? data.lines : 0;
    if (typeof lines === 'number' && lines > 0) {
      this._gap(lines);
    }
  }

  private _gap(lines: number): void {
    const words = this._trans._n('[%1 line left out]', '[%1 lines left out]', lines);
    this.lines.gap(lines, words);
  }

  info(info: ITaskInfo): void {
    this.heard = true;
    this.missing = '';
    this._card = informed(this._card, info, now());
    this.complete = this._output && ended(this._card.state);
    this._changed.emit();
  }

  group(info: IGroupInfo): void {
    this.heard = true;
    this.missing = '';
    const rate = this._pace.heard(now(), info.done);
    this._card = grouped(this._card, info, rate, now(), this._trans);
    if (ended(this._card.state)) {
      this.stop();
    }
    this._changed.emit();
  }

  unknown(message: string): void {
    this.heard = true;
    this.missing = message;
    this._changed.emit();
  }
}

/** Tasks that are remembered as seen running. */
const REMEMBERED = 1000;

export class Tasks {
  private readonly _known = new Map<string, { task: LiveTask; count: number }>();
  /** JupyterLab makes a card's renderer anew when it likes, often at the very end: this outlives it. */
  private readonly _ran = new Set<string>();

  constructor(
    readonly live: IFxLive,
    private readonly _trans: TranslationBundle
  ) {}

  /** The task of a card. */
  take(card: Card): LiveTask {
    const found = this._known.get(card.task_id);
    if (found !== undefined) {
      found.count += 1;
      found.task.offer(card);
      return found.task;
    }
    const task = new LiveTask(this.live, this._trans, card);
    this._known.set(card.task_id, { task, count: 1 });
    return task;
  }

  /** A card of this page saw it run. */
  sawRun(id: string): void {
    const [oldest] = this._ran;
    if (oldest !== undefined && this._ran.size >= REMEMBERED && !this._ran.has(id)) {
      this._ran.delete(oldest);
    }
    this._ran.add(id);
  }

  /** Whether a card of this page saw it run. */
  ran(id: string): boolean {
    return this._ran.has(id);
  }

  /** Nobody shows it here any more. */
  leave(task: LiveTask): void {
    const found = this._known.get(task.card.task_id);
    if (found !== undefined && --found.count === 0) {
      this._known.delete(task.card.task_id);
      task.stop();
    }
  }
}
