/** Reads a card out of a notebook, which may hold anything: what has not the form is left out. */

import { isRecord } from '../requests';
import { Bar, Card } from '../types/card';

export const MIME = 'application/vnd.jupyter-fx.task+json';

const KINDS = ['cell', 'call', 'map', 'wait'] as const;
const STATES = [
  'sent', 'waiting', 'queued', 'leased', 'accepted', 'running',
  'succeeded', 'failed', 'cancelled', 'expired', 'lost', 'poisoned'
] as const; // prettier-ignore
const ID = /^[0-9a-f]{32}$/;

export type State = Card['state'];

/** Whether nothing follows. */
export function ended(state: State): boolean {
  return STATES.indexOf(state) > STATES.indexOf('running');
}

/** The state of that name, if there is one. */
export function stateOf(value: unknown): State | undefined {
  return one(STATES, typeof value === 'string' ? value.toLowerCase() : value);
}

function one<T extends string>(known: readonly T[], value: unknown): T | undefined {
  return known.find(name => name === value);
}

function text(value: unknown, most: number): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, most) : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

function natural(value: unknown): number {
  return Math.max(0, number(value) ?? 0);
}

function list<T>(value: unknown, most: number, read: (item: unknown) => T | undefined): T[] {
  const items: unknown[] = Array.isArray(value) ? value.slice(0, most) : [];
  return items.map(read).filter((item): item is Awaited<T> & T => item !== undefined);
}

/** Leaves out what is undefined: the page has no empty fields. */
function some<T extends object>(made: { [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(made).filter(([, value]) => value !== undefined)) as T;
}

export function readBar(value: unknown): Bar | undefined {
  const done = isRecord(value) ? number(value.done) : undefined;
  if (!isRecord(value) || done === undefined) {
    return undefined;
  }
  return some<Bar>({
    id: text(value.id, 64) ?? '',
    label: text(value.label, 200),
    done,
    total: number(value.total),
    unit: text(value.unit, 32),
    rate: number(value.rate),
    eta: number(value.eta)
  });
}

function readSession(value: unknown): Card['session'] {
  if (!isRecord(value) || typeof value.id !== 'string' || !ID.test(value.id)) {
    return undefined;
  }
  return some<NonNullable<Card['session']>>({
    id: value.id,
    name: text(value.name, 200) ?? '',
    variables: number(value.variables)
  });
}

function readMap(value: unknown): Card['map'] {
  if (!isRecord(value)) {
    return undefined;
  }
  return some<NonNullable<Card['map']>>({
    total: number(value.total) ?? null,
    done: natural(value.done),
    running: natural(value.running),
    failed: natural(value.failed),
    cancelled: natural(value.cancelled),
    rate: number(value.rate),
    eta: number(value.eta),
    failures: list(value.failures, 20, item =>
      isRecord(item)
        ? {
            index: natural(item.index),
            input: text(item.input, 200) ?? '',
            error: text(item.error, 500) ?? ''
          }
        : undefined
    ),
    tasks: list(value.tasks, 1024, item =>
      typeof item === 'string' && ID.test(item) ? item : undefined
    )
  });
}

function readTimes(value: unknown): Card['times'] {
  const hops = ['queue', 'start', 'run', 'back'] as const;
  return list(value, 4, item => {
    const hop = isRecord(item) ? one(hops, item.hop) : undefined;
    return isRecord(item) && hop !== undefined
      ? { hop, seconds: natural(item.seconds) }
      : undefined;
  });
}

function readUsage(value: unknown): Card['usage'] {
  return isRecord(value)
    ? some<NonNullable<Card['usage']>>({
        cpu: number(value.cpu),
        rss: number(value.rss),
        node_hours: number(value.node_hours)
      })
    : undefined;
}

/** The card, or null when it is none, or of a version that we do not know. */
export function readCard(value: unknown): Card | null {
  if (!isRecord(value) || value.version !== 1) {
    return null;
  }
  const kind = one(KINDS, value.kind);
  const state = one(STATES, value.state);
  if (
    kind === undefined ||
    state === undefined ||
    typeof value.task_id !== 'string' ||
    !ID.test(value.task_id)
  ) {
    return null;
  }
  const error = isRecord(value.error) ? value.error : undefined;
  const origin = isRecord(value.origin) ? value.origin : undefined;
  return some<Card>({
    version: 1,
    kind,
    task_id: value.task_id,
    group: typeof value.group === 'string' && ID.test(value.group) ? value.group : undefined,
    name: text(value.name, 200),
    endpoint: text(value.endpoint, 200),
    session: readSession(value.session),
    origin:
      origin &&
      some<NonNullable<Card['origin']>>({
        kernel_id: text(origin.kernel_id, 64),
        cell: number(origin.cell)
      }),
    state,
    unreachable: value.unreachable === true ? true : undefined,
    why: text(value.why, 1000),
    submitted: natural(value.submitted),
    as_of: natural(value.as_of),
    elapsed: natural(value.elapsed),
    times: readTimes(value.times),
    progress: list(value.progress, 16, readBar),
    note: text(value.note, 500),
    notices: list(value.notices, 20, item => text(item, 2000)),
    tail: text(value.tail, 8192),
    event: natural(value.event),
    notify: natural(value.notify),
    interrupts: natural(value.interrupts),
    ended: text(value.ended, 500),
    error: error && { type: text(error.type, 200) ?? '', message: text(error.message, 2000) ?? '' },
    details: text(value.details, 8192),
    usage: readUsage(value.usage),
    map: readMap(value.map)
  });
}
