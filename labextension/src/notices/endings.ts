/**
 * Which ends of tasks are news. Pure: it is given what the hub lists and what was told before.
 *
 * News is what ended while this page looked, or since any page of this browser looked last. The chunks of a map are one
 * thing, and so are calls of one function: they are told when none of them goes on.
 */

import { ended, stateOf } from '../card/read';
import { INotice, ITaskInfo } from '../tokens';

/** Ids that are remembered; the hub lists the newest 200 tasks. */
const REMEMBERED = 1000;

/** What outlives a page. */
export interface IMemory {
  /** Tasks that were told of, the newest last. */
  readonly told: readonly string[];
  /** When the newest of all ends was, seconds since the epoch; 0: nobody has looked yet. */
  readonly latest: number;
}

/** Later than `NOTHING`: somebody has looked, though nothing had ended. */
const LOOKED = 1;

export const NOTHING: IMemory = { told: [], latest: 0 };

const over = (task: ITaskInfo): boolean => ended(stateOf(task.state) ?? 'sent');

function batch(task: ITaskInfo): string {
  if (task.group !== '') {
    return task.group;
  }
  return task.kind === 'call' ? `${task.name} on ${task.endpoint}` : task.task_id;
}

export class Endings {
  /** Tasks that were seen before their end, and their kernels: the hub lists those of tasks that go on. */
  private readonly _open = new Map<string, string>();

  /** Ends that took `after` seconds and are news, and what is to be remembered. */
  take(tasks: readonly ITaskInfo[], memory: IMemory, after: number): [INotice[], IMemory] {
    const told = new Set(memory.told);
    const latest = Math.max(memory.latest, LOOKED, ...tasks.map(task => task.finished));
    const notices: INotice[] = [];
    for (const members of this._batches(tasks)) {
      if (members.some(task => !over(task))) {
        continue;
      }
      const fresh = members.filter(
        task => !told.has(task.task_id) && this._isNews(task, memory.latest)
      );
      // A map's card may have told of it, naming some of its chunks.
      const whole = members[0]?.group !== '' && members.some(task => told.has(task.task_id));
      const notice = whole ? null : noticeOf(fresh, this._open);
      if (notice !== null && notice.elapsed >= after) {
        notices.push(notice);
      }
      const silent = notice !== null && notice.elapsed < after;
      for (const task of fresh) {
        // What is too short to be told from here may still be told by its card, whose notebook asked for it.
        if (!silent) {
          told.add(task.task_id);
        }
        this._open.delete(task.task_id);
      }
    }
    return [notices, { told: [...told].slice(-REMEMBERED), latest }];
  }

  private _isNews(task: ITaskInfo, latest: number): boolean {
    return this._open.has(task.task_id) || (latest > 0 && task.finished > latest);
  }

  private _batches(tasks: readonly ITaskInfo[]): Iterable<ITaskInfo[]> {
    const found = new Map<string, ITaskInfo[]>();
    for (const task of tasks) {
      if (!over(task)) {
        const kernel = task.origin.kernel_id;
        this._open.set(task.task_id, typeof kernel === 'string' ? kernel : '');
      }
      const key = batch(task);
      found.set(key, [...(found.get(key) ?? []), task]);
    }
    return found.values();
  }
}

function noticeOf(
  tasks: readonly ITaskInfo[],
  kernels: ReadonlyMap<string, string>
): INotice | null {
  const first = tasks[0];
  if (first === undefined) {
    return null;
  }
  const began = Math.min(...tasks.map(task => task.started || task.submitted));
  const failed = tasks.filter(task => !['SUCCEEDED', 'CANCELLED'].includes(task.state));
  const worst = failed[0] ?? tasks.find(task => task.state === 'CANCELLED') ?? first;
  return {
    tasks: tasks.map(task => task.task_id),
    count: tasks.length,
    name: first.name,
    endpoint: first.endpoint,
    state: worst.state.toLowerCase(),
    failed: failed.length,
    elapsed: Math.max(0, Math.max(...tasks.map(task => task.finished)) - began),
    kernelId: kernels.get(first.task_id) ?? ''
  };
}
