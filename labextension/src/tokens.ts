/** What the plugins offer each other, and what the server says. */

import { NotebookPanel } from '@jupyterlab/notebook';
import { Token } from '@lumino/coreutils';
import { IDisposable } from '@lumino/disposable';
import { ISignal } from '@lumino/signaling';

import { IAgentForm, IAgentState, Values } from './forms/schema';

/** How the server stands to the fx hub. */
export interface IStatus {
  readonly connected: boolean;
  readonly address: string;
  readonly user: string;
  readonly problem: string;
  /** Which hub it is: of this machine, named by the administrator, or chosen here. */
  readonly hub: 'own' | 'configured' | 'chosen';
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
  readonly error: {
    readonly etype: string;
    readonly message: string;
    readonly details?: unknown;
  } | null;
  readonly origin: Readonly<Record<string, unknown>>;
  readonly group: string;
  readonly items: number;
}

export interface IFailure {
  readonly index: number;
  readonly input: string;
  readonly error: string;
}

/** How a map stands, as far as its tasks were submitted; `done`, `failed` and `cancelled` count items. */
export interface IGroupInfo {
  readonly endpoint: string;
  readonly submitted: number;
  readonly finished: number;
  /** Tasks that are not at their end. */
  readonly active: number;
  readonly states: Readonly<Record<string, number>>;
  readonly items: number;
  readonly done: number;
  readonly failed: number;
  readonly cancelled: number;
  /** Tasks. */
  readonly running: number;
  readonly why: string;
  readonly unreachable: boolean;
  /** The first of them, by index. */
  readonly failures: readonly IFailure[];
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
  /** Open sessions in which nothing runs: each has a worker that is free for nobody else. */
  readonly held?: number;
  /** Tasks that came to their end there since the hub started. */
  readonly finished?: number;
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
  /** What was asked for. */
  readonly resources?: Readonly<Record<string, unknown>>;
  /** Bytes that its processes have; 0: not known. */
  readonly memory?: number;
}

/** An endpoint of the Jupyter server's machine. */
export interface IAgent {
  readonly name: string;
  readonly endpoint_id: string;
  readonly hub: string;
  readonly running: boolean;
  /** The host that it runs on; empty: the server's own. */
  readonly ssh: string;
  /** The end of the log of one that does not run. */
  readonly last: string;
}

/** The state of the hub that the panel shows. */
export interface IState {
  readonly endpoints?: readonly IEndpointInfo[];
  readonly sessions?: readonly ISessionInfo[];
  readonly tasks?: readonly ITaskInfo[];
  readonly agents?: readonly IAgent[];
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

/** Who hears how a map stands. */
export interface IGroupSink {
  group(info: IGroupInfo): void;
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
  /** Hear how a map stands, now and whenever that has changed. */
  followGroup(group: string, sink: IGroupSink): IDisposable;
  /** Hear of the state of the hub. */
  look(): IDisposable;
  /** Something was done: hear of the state sooner than it would be looked for. */
  refresh(): void;
  /** Look for it every so many seconds. */
  pace(seconds: number): void;
}

export const IFxLive = new Token<IFxLive>(
  'jupyter-fx:IFxLive',
  'The connection to the fx hub through the Jupyter server.'
);

/** Everything that is asked of the server once. */
export interface IFxRequests {
  cancel(taskId: string, mode: 'cancel' | 'interrupt'): Promise<number>;
  /** Stop all that is left of a map. */
  cancelGroup(group: string): Promise<number>;
  closeSession(sessionId: string, kill: boolean): Promise<number>;
  renewSession(sessionId: string): Promise<void>;
  /** Find or start the hub and its local endpoint. */
  start(): Promise<void>;
  tasks(query: Readonly<Record<string, string>>): Promise<readonly ITaskInfo[]>;
  /** The whole log as the hub keeps it. */
  log(taskId: string): Promise<Blob>;
  /** What the form of a new endpoint, or of the one of this name, is made from. */
  agentForm(name: string): Promise<IAgentForm>;
  /** What is wrong with values, by field; the name is one for a new endpoint, or empty. */
  checkAgent(values: Values, name: string): Promise<Readonly<Record<string, string>>>;
  createAgent(name: string, values: Values): Promise<void>;
  configureAgent(name: string, values: Values): Promise<boolean>;
  /** `state` is how it stands to the hub then; `log` the end of its log when that is not well. */
  actAgent(name: string, action: 'start' | 'stop' | 'restart'): Promise<IAgentState>;
  agentLog(name: string): Promise<readonly string[]>;
  deleteEndpoint(name: string): Promise<void>;
  /** Who we are there. */
  signIn(address: string, token: string): Promise<string>;
  leaveHub(forget: boolean): Promise<void>;
}

export const IFxRequests = new Token<IFxRequests>(
  'jupyter-fx:IFxRequests',
  'What can be asked of the fx hub through the Jupyter server.'
);

/** The notebooks of this page: where the remote cells of each run, and what is done in the one in front. */
export interface IFxFront {
  /** Another notebook is in front, or one of them uses another endpoint. */
  readonly changed: ISignal<IFxFront, void>;
  /** The notebook in front. */
  readonly panel: NotebookPanel | null;
  /** The endpoint of a notebook's remote cells: what its kernel says; empty while that is not known. */
  endpoint(state: IState | null, panel?: NotebookPanel | null): string;
  /** Whether it can have remote cells: its kernel is Python, as far as is known. */
  possible(panel: NotebookPanel): boolean;
  /** The endpoint that is being chosen for it; empty most of the time. */
  pending(panel: NotebookPanel): string;
  /** Its session there, if one is open. */
  session(state: IState | null, panel?: NotebookPanel | null): ISessionInfo | null;
  /** Have its remote cells run there from now on. This and the following fail with a sentence. */
  use(endpoint: string, panel?: NotebookPanel | null): Promise<void>;
  /** Close its session and open another one, with no variables. */
  newSession(panel?: NotebookPanel | null): Promise<void>;
  /** Put a cell with this text below the active one and run it. */
  runBelow(source: string): Promise<void>;
  /** Make the cell of this node the active one: a menu is about the cell that was pointed at. */
  activate(node: HTMLElement | undefined): void;
  /** Let the active cell begin with `%%remote`; false when it does already. */
  markRemote(): boolean;
  /** The same, and run it. */
  runRemote(): Promise<void>;
}

export const IFxFront = new Token<IFxFront>(
  'jupyter-fx:IFxFront',
  'The notebooks and the endpoints of their remote cells.'
);

/** What the user has set: schema/settings.json says what each means. */
export interface IFxSettings {
  readonly changed: ISignal<IFxSettings, void>;
  /** Seconds. */
  readonly refresh: number;
  /** Empty: the hub's own. */
  readonly defaultEndpoint: string;
  readonly notify: boolean;
  /** Seconds. */
  readonly notifyAfter: number;
  readonly launcherCards: boolean;
}

export const IFxSettings = new Token<IFxSettings>(
  'jupyter-fx:IFxSettings',
  'What the user has set.'
);

/** Something that has ended. */
export interface INotice {
  /** Tasks that it is about: each is told of once. */
  readonly tasks: readonly string[];
  /** How many things ended: calls, or chunks of a map. */
  readonly count: number;
  readonly name: string;
  readonly endpoint: string;
  readonly state: string;
  readonly failed: number;
  /** Seconds. */
  readonly elapsed: number;
  readonly kernelId: string;
}

/** Tells ends of tasks by JupyterLab's notifications. */
export interface IFxNotices {
  tell(notice: INotice): void;
}

export const IFxNotices = new Token<IFxNotices>(
  'jupyter-fx:IFxNotices',
  'Tells the user that a task has ended, once.'
);
