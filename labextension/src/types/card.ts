// Made by tools/card-types.mjs from kernel/jupyter_fx_kernel/card.schema.json: change it there, then `jlpm types`.

/**
 * The card of a task, of a map, or of a wait for several tasks: an id and a snapshot, never an address or a token. The kernel makes it, a renderer that follows the task may write a newer one into the notebook; both keep to this page. Fields that are not required are left out when they have nothing to say: a reader takes the default named here, and ignores fields that it does not know. Every text may hold anything (it comes from elsewhere): it reaches a page as text only. Times are seconds since the epoch, durations seconds.
 */
export interface Card {
  /**
   * Of this page. A reader that does not know it shows text/html.
   */
  version: 1;
  /**
   * cell and call: one task. map: all tasks whose group at the hub is `group`. wait: several tasks of the notebook that were waited for together; only the kernel follows those.
   */
  kind: 'cell' | 'call' | 'map' | 'wait';
  /**
   * cell, call: the task's id at the hub. map, wait: the card's own id, which no task has; a map's is its group.
   */
  task_id: string;
  /**
   * map: the group of its tasks, by which `tasks.list` finds them. Default: none.
   */
  group?: string;
  /**
   * What its author or its first line calls it. Default: empty.
   */
  name?: string;
  /**
   * Name of the endpoint where it runs. Default: empty, the default endpoint.
   */
  endpoint?: string;
  /**
   * The session that a cell runs in. Default: none (stateless cells, calls, maps).
   */
  session?: {
    id: string;
    name: string;
    /**
     * How many variables would be lost with it.
     */
    variables?: number;
  };
  /**
   * Where it came from. Default: unknown.
   */
  origin?: {
    kernel_id?: string;
    /**
     * Execution count of the cell.
     */
    cell?: number;
  };
  /**
   * The task's state at the hub in lower case, or `sent` as long as the hub has not said that it has it. What comes after `running` here is terminal: nothing follows it. A map and a wait are `running`, then `succeeded` (every item), `failed` (at least one did) or `cancelled`.
   */
  state:
    | 'sent'
    | 'waiting'
    | 'queued'
    | 'leased'
    | 'accepted'
    | 'running'
    | 'succeeded'
    | 'failed'
    | 'cancelled'
    | 'expired'
    | 'lost'
    | 'poisoned';
  /**
   * The endpoint is silent, so that nobody knows whether `state` still holds; `why` says since when. Default: false.
   */
  unreachable?: boolean;
  /**
   * A sentence: what it waits for, or why it ended. Default: empty.
   */
  why?: string;
  /**
   * When the notebook sent it.
   */
  submitted: number;
  /**
   * When this snapshot was made: what a form that does not live any more must say beside a state that is not terminal.
   */
  as_of: number;
  /**
   * From `submitted` to `as_of`, or to its end as the notebook saw it; by one steady clock.
   */
  elapsed: number;
  /**
   * Where the time went, in this order, known hops only. queue: from the hub's receipt until a worker was found. start: until its code began. run: its code. back: until the notebook had the outcome.
   */
  times?: {
    hop: 'queue' | 'start' | 'run' | 'back';
    seconds: number;
  }[];
  /**
   * Bars, outer ones first. The newest PROGRESS event of each `id` says how it is; bars that ended go away, so a terminal card has none unless it did not succeed. Default: none.
   */
  progress?: Bar[];
  /**
   * One short line of the task's own beside its progress. Default: empty.
   */
  note?: string;
  /**
   * Sentences that its reader should see: what stayed remote, what was kept, what comes next. Default: none.
   */
  notices?: string[];
  /**
   * The last lines that it printed, with their ANSI colours (SGR sequences, no other control characters but newline and tab): only where its output does not stand in the same cell (attached tasks, calls, background). At most 8 KiB of UTF-8. Default: empty.
   */
  tail?: string;
  /**
   * Number of the first event of the task that this snapshot does not know: where a live renderer goes on with `tasks.events`. Default: 0.
   */
  event?: number;
  /**
   * Seconds: its author wants to be told when it ends, if it took so long. Whoever saw it run tells it, once. Default: 0, nobody does.
   */
  notify?: number;
  /**
   * How often its user has interrupted it. A session's cell that is still running after one may be offered `kill the session`. Default: 0.
   */
  interrupts?: number;
  /**
   * How it was stopped, in words: `cancelled before it started`, `interrupted while it ran`, `finished before the cancel came`, `killed because it ignored the interrupt`. Default: empty, nobody stopped it.
   */
  ended?: string;
  /**
   * Its error, when it failed. Default: none.
   */
  error?: {
    type: string;
    message: string;
  };
  /**
   * What else is known when the machinery failed (signal, memory, last lines): plain text, shown on demand. Default: empty.
   */
  details?: string;
  /**
   * What it used, where the endpoint tells it. Default: unknown.
   */
  usage?: {
    /**
     * Seconds of processor time.
     */
    cpu?: number;
    /**
     * Bytes of memory at the most.
     */
    rss?: number;
    /**
     * Hours of nodes that it kept busy.
     */
    node_hours?: number;
  };
  /**
   * map, wait: the sum of its items (calls). done counts every item that has its outcome, whichever; failed and cancelled are among them; what is neither done nor running waits.
   */
  map?: {
    /**
     * null: not known yet (the inputs are an iterator).
     */
    total: number | null;
    done: number;
    /**
     * Items of tasks that are on their way or being run.
     */
    running: number;
    failed: number;
    cancelled: number;
    /**
     * Items per second lately; null: not known.
     */
    rate?: number | null;
    /**
     * Seconds until it is through at that rate; null: not known.
     */
    eta?: number | null;
    /**
     * The first of them, by index.
     */
    failures?: {
      index: number;
      /**
       * A map's item, or what a call was given, shortened.
       */
      input: string;
      /**
       * Type and message.
       */
      error: string;
    }[];
    /**
     * Tasks that are not at their end: what `cancel all` cancels. The kernel that feeds the map submits no more once one of them was cancelled.
     */
    tasks?: string[];
  };
}
export interface Bar {
  /**
   * Tells the bars of one task apart.
   */
  id: string;
  /**
   * Default: empty.
   */
  label?: string;
  done: number;
  /**
   * null, the default: unknown, so there is no share to draw.
   */
  total?: number | null;
  /**
   * What is counted, as in `it` or `B`. Default: empty.
   */
  unit?: string;
  /**
   * Units per second; null, the default: not known.
   */
  rate?: number | null;
  /**
   * Seconds to go; null, the default: not known.
   */
  eta?: number | null;
}
