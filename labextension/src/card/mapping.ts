/** How a map stands, from what the hub says of its tasks: they are those that its kernel has submitted so far. Pure. */

import { TranslationBundle } from '@jupyterlab/translation';

import { count } from '../format';
import { IFailure, IGroupInfo } from '../tokens';
import { Card } from '../types/card';
import { ended, State } from './read';

/** Seconds over which the rate is measured. */
const WINDOW = 15;
/** Failures that a card names. */
const FAILURES = 20;

/** Items per second of late, from the counts that were heard. */
export class Pace {
  private _seen: [number, number][] = [];

  /** Take a count; the rate, when there is one. */
  heard(now: number, done: number): number | null {
    this._seen.push([now, done]);
    while (this._seen.length > 2 && now - (this._seen[0]?.[0] ?? now) > WINDOW) {
      this._seen.shift();
    }
    const [first, before] = this._seen[0] ?? [now, done];
    return done > before && now > first ? (done - before) / (now - first) : null;
  }
}

/**
 * The card of a map after the hub said how its tasks stand. `rate`: items per second.
 *
 * Whether more will be submitted only its kernel knows. So a map is over when all of its items have come back or it was
 * cancelled, and else waits for a kernel that may not be there any more: the card says that.
 */
export function grouped(
  card: Card,
  info: IGroupInfo,
  rate: number | null,
  now: number,
  trans: TranslationBundle
): Card {
  if (ended(card.state)) {
    return card;
  }
  const { why: _why, unreachable: _unreachable, ...rest } = card;
  const total = card.map?.total ?? null;
  const stopped = (info.states.CANCELLED ?? 0) > 0;
  const whole = stopped || (total !== null && info.items >= total);
  const over = info.active === 0 && whole;
  const done = over ? info.done : Math.max(info.done, card.map?.done ?? 0);
  const living = info.active > 0;
  const next: Card = {
    ...rest,
    state: over ? outcome(info) : !living ? 'waiting' : info.running > 0 || done > 0 ? 'running' : 'queued',
    as_of: now,
    elapsed: over
      ? Math.max(0, info.finished - info.submitted)
      : Math.max(card.elapsed, now - card.submitted),
    map: {
      tasks: [],
      ...card.map,
      failures: failuresOf(card.map?.failures ?? [], info.failures),
      total,
      done,
      running: info.running,
      failed: info.failed,
      cancelled: info.cancelled,
      rate: living ? rate : null,
      eta: living && rate !== null && total !== null ? (total - done) / rate : null
    }
  }; // prettier-ignore
  if (info.endpoint !== '') {
    next.endpoint = info.endpoint;
  }
  if (info.unreachable && !over) {
    next.unreachable = true;
  }
  if (!living && !over) {
    const sent = count(info.items, trans);
    next.why =
      total === null
        ? trans.__(
            'all %1 items that were sent have come back: its kernel sends no more, because it has ended or its map waits for more items',
            sent
          )
        : trans.__(
            'all %1 of %2 items that were sent have come back: its kernel sends no more, because it has ended or its map waits for more items',
            sent,
            count(total, trans)
          );
  } else if (next.state === 'queued' && info.why !== '') {
    next.why = info.why.slice(0, 1000);
  }
  return next;
}

/** The first failures. The kernel's own words count more: of a lost task only it knows the items. */
function failuresOf(known: readonly IFailure[], heard: readonly IFailure[]): IFailure[] {
  const all = new Map([...heard, ...known].map(failure => [failure.index, failure]));
  return [...all.values()].sort((a, b) => a.index - b.index).slice(0, FAILURES);
}

function outcome(info: IGroupInfo): State {
  if ((info.states.CANCELLED ?? 0) > 0) {
    return 'cancelled';
  }
  return info.failed > 0 ? 'failed' : 'succeeded';
}
