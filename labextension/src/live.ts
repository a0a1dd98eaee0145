/** Live: one WebSocket for all that this tab shows. It comes back by itself, and goes on where it stopped. */

import { DisposableDelegate, IDisposable } from '@lumino/disposable';
import { ISignal, Signal } from '@lumino/signaling';

import { isRecord } from './requests';
import { IFxLive, IGroupInfo, IGroupSink, ISink, IState, IStatus, ITaskInfo, Row } from './tokens';

const FIRST_WAIT = 500;
const LONGEST_WAIT = 30_000;
/** Milliseconds after which a socket that nobody needs is closed. */
const LINGER = 10_000;

interface IFollowed {
  readonly output: boolean;
  readonly first: () => number;
  readonly sink: ISink;
}

export class Live implements IFxLive {
  private _socket: WebSocket | null = null;
  private _status: IStatus | null = null;
  private _state: IState | null = null;
  private readonly _statusChanged = new Signal<this, void>(this);
  private readonly _stateChanged = new Signal<this, void>(this);
  private readonly _followed = new Map<string, Set<IFollowed>>();
  private readonly _groups = new Map<string, Set<IGroupSink>>();
  private _looking = 0;
  private _every = 10;
  private _tries = 0;
  private _timer = 0;

  constructor(
    private readonly _open: () => WebSocket,
    private readonly _random: () => number = Math.random
  ) {}

  get status(): IStatus | null {
    return this._status;
  }

  get statusChanged(): ISignal<this, void> {
    return this._statusChanged;
  }

  get state(): IState | null {
    return this._state;
  }

  get stateChanged(): ISignal<this, void> {
    return this._stateChanged;
  }

  follow(taskId: string, output: boolean, first: () => number, sink: ISink): IDisposable {
    const one: IFollowed = { output, first, sink };
    const all = this._followed.get(taskId) ?? new Set();
    all.add(one);
    this._followed.set(taskId, all);
    this._ask(taskId);
    this._needed();
    return new DisposableDelegate(() => {
      all.delete(one);
      if (all.size === 0) {
        this._followed.delete(taskId);
        this._say({ op: 'unfollow', task_id: taskId });
      }
      this._needed();
    });
  }

  followGroup(group: string, sink: IGroupSink): IDisposable {
    const all = this._groups.get(group) ?? new Set();
    all.add(sink);
    this._groups.set(group, all);
    this._askGroup(group);
    this._needed();
    return new DisposableDelegate(() => {
      all.delete(sink);
      if (all.size === 0) {
        this._groups.delete(group);
        this._say({ op: 'unfollow', task_id: group, group: true });
      }
      this._needed();
    });
  }

  look(): IDisposable {
    this._looking += 1;
    if (this._looking === 1) {
      this._sayLook();
    }
    this._needed();
    return new DisposableDelegate(() => {
      this._looking -= 1;
      if (this._looking === 0) {
        this._say({ op: 'look', on: false });
      }
      this._needed();
    });
  }

  refresh(): void {
    if (this._looking > 0) {
      this._sayLook();
    }
  }

  pace(seconds: number): void {
    this._every = seconds;
    this.refresh();
  }

  private _sayLook(): void {
    this._say({ op: 'look', on: true, every: this._every });
  }

  /** Say what is wanted of a task, after the wishes of all who show it. */
  private _ask(taskId: string): void {
    const all = [...(this._followed.get(taskId) ?? [])];
    const whole = all.filter(one => one.output);
    const first = whole.length > 0 ? Math.min(...whole.map(one => one.first())) : 0;
    this._say({ op: 'follow', task_id: taskId, output: whole.length > 0, first });
  }

  private _askGroup(group: string): void {
    this._say({ op: 'follow', task_id: group, group: true });
  }

  private _say(message: Readonly<Record<string, unknown>>): void {
    if (this._socket !== null && this._socket.readyState === 1) {
      this._socket.send(JSON.stringify(message));
    }
  }

  private _needed(): void {
    window.clearTimeout(this._timer);
    if (this._followed.size > 0 || this._groups.size > 0 || this._looking > 0) {
      if (this._socket === null) {
        this._connect();
      }
    } else if (this._socket !== null) {
      this._timer = window.setTimeout(() => {
        this._close();
      }, LINGER);
    }
  }

  private _connect(): void {
    const socket = (this._socket = this._open());
    socket.onopen = () => {
      this._tries = 0;
      for (const taskId of this._followed.keys()) {
        this._ask(taskId);
      }
      for (const group of this._groups.keys()) {
        this._askGroup(group);
      }
      if (this._looking > 0) {
        this._sayLook();
      }
    };
    socket.onmessage = event => {
      this._heard(event.data);
    };
    socket.onclose = () => {
      if (this._socket === socket) {
        this._socket = null;
        this._setStatus(null);
        this._again();
      }
    };
  }

  private _close(): void {
    const socket = this._socket;
    this._socket = null;
    socket?.close();
  }

  /** Come again, later each time, and not all tabs at once. */
  private _again(): void {
    const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this._tries);
    this._tries += 1;
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(
      () => {
        this._needed();
      },
      longest / 2 + (this._random() * longest) / 2
    );
  }

  private _setStatus(status: IStatus | null): void {
    this._status = status;
    this._statusChanged.emit();
  }

  private _heard(data: unknown): void {
    let message: unknown;
    try {
      message = JSON.parse(String(data));
    } catch {
      return;
    }
    if (!isRecord(message)) {
      return;
    }
    const id = String(message.task_id);
    const sinks = [...(this._followed.get(id) ?? [])].map(one => one.sink);
    const groups = [...(this._groups.get(id) ?? [])];
    switch (message.type) {
      case 'status':
        this._setStatus(message as unknown as IStatus);
        break;
      case 'state':
        this._state = message as unknown as IState;
        this._stateChanged.emit();
        break;
      case 'events':
        for (const sink of sinks) {
          sink.events(message.events as Row[], Number(message.dropped ?? 0));
        }
        break;
      case 'info':
        for (const sink of sinks) {
          sink.info(message.info as ITaskInfo);
        }
        break;
      case 'group':
        for (const sink of groups) {
          sink.group(message.info as IGroupInfo);
        }
        break;
      case 'unknown':
        for (const sink of [...sinks, ...groups]) {
          sink.unknown(String(message.message));
        }
        break;
    }
  }
}
