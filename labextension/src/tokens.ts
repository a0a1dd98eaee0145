/** What the plugins offer each other, and what the server says. */

import { Token } from '@lumino/coreutils';
import { IDisposable } from '@lumino/disposable';
import { ISignal } from '@lumino/signaling';

/** How the server stands to the fx hub. */
export interface IStatus {
  readonly connected: boolean;
  readonly address: string;
  readonly user: string;
  readonly problem: string;
}

/** One thing that a task told: [number, kind, seconds since the epoch, data]. */
export type Row = readonly [number, string, number, unknown];

/** TaskInfo, as far as we show it (docs/wire-protocol.md). */
export interface ITaskInfo {
  readonly task_id: string;
  readonly name: string;
  readonly kind: string;
  readonly state: string;
  readonly shown: string;
  readonly why: string;
  readonly endpoint: string;
  readonly session_id: string;
  readonly submitted: number;
  readonly started: number;
  readonly finished: number;
  readonly error: { readonly etype: string; readonly message: string } | null;
  readonly origin: Readonly<Record<string, unknown>>;
  readonly group: string;
  readonly items: number;
}

/** EndpointInfo, as far as we show it. */
export interface IEndpointInfo {
  readonly endpoint_id: string;
  readonly name: string;
  readonly state: string;
  readonly why: string;
  readonly queued: number;
  readonly running: number;
  readonly leased: number;
  readonly seen: number;
  readonly info: Readonly<Record<string, unknown>>;
}

/** SessionInfo, as far as we show it. */
export interface ISessionInfo {
  readonly session_id: string;
  readonly state: string;
  readonly endpoint: string;
  readonly kernel_id: string;
  readonly name: string;
  readonly notebook: string;
  readonly opened: number;
  readonly reason: string;
  readonly busy: boolean;
  /** Seconds. */
  readonly idle: number;
  /** When it ends by itself; null: never. */
  readonly ends_at: number | null;
  readonly ends_why: string;
  readonly info: Readonly<Record<string, unknown>>;
}

/** The state of the hub that the panel shows. */
export interface IState {
  readonly endpoints?: readonly IEndpointInfo[];
  readonly sessions?: readonly ISessionInfo[];
  readonly tasks?: readonly ITaskInfo[];
  readonly at: number;
  readonly stale: boolean;
  readonly problem: string;
}

/** Who hears of a task. */
export interface ISink {
  /** Events in order, each once; `dropped` lines are missing before them. */
  events(rows: readonly Row[], dropped: number): void;
  info(info: ITaskInfo): void;
  unknown(message: string): void;
}

/** The one connection of this tab. It is open while something is followed or looked at. */
export interface IFxLive {
  /** null: not connected to the Jupyter server. */
  readonly status: IStatus | null;
  readonly statusChanged: ISignal<IFxLive, void>;
  readonly state: IState | null;
  readonly stateChanged: ISignal<IFxLive, void>;
  /** Hear of a task: with `output` everything from event `first()` on, else its states. */
  follow(taskId: string, output: boolean, first: () => number, sink: ISink): IDisposable;
  /** Hear of the state of the hub. */
  look(): IDisposable;
}

export const IFxLive = new Token<IFxLive>(
  'jupyter-fx:IFxLive',
  'The connection to the fx hub through the Jupyter server.'
);

/** Everything that is asked of the server once. */
export interface IFxRequests {
  cancel(taskId: string, mode: 'cancel' | 'interrupt'): Promise<number>;
  closeSession(sessionId: string, kill: boolean): Promise<number>;
  renewSession(sessionId: string): Promise<void>;
  /** Find or start the hub and its local endpoint. */
  start(): Promise<void>;
  tasks(query: Readonly<Record<string, string>>): Promise<readonly ITaskInfo[]>;
  /** The whole log as the hub keeps it. */
  log(taskId: string): Promise<Blob>;
}

export const IFxRequests = new Token<IFxRequests>(
  'jupyter-fx:IFxRequests',
  'What can be asked of the fx hub through the Jupyter server.'
);
