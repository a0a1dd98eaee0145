/** What is known of a task, moved on by what is told of it. Pure; nothing follows a state that is an end. */

import { isRecord } from '../requests';
import { ITaskInfo, Row } from '../tokens';
import { Bar, Card } from '../types/card';
import { detailsOf } from './details';
import { ended, readBar, stateOf } from './read';

const BARS = 16;

/** The card after one event of its task. `now`: seconds since the epoch. */
export function told(card: Card, row: Row, now: number): Card {
  const [n, kind, , data] = row;
  const next: Card = { ...card, event: Math.max(card.event ?? 0, n + 1) };
  if (ended(card.state) || !isRecord(data)) {
    return next;
  }
  if (kind === 'state') {
    return state(next, data, now);
  }
  return kind === 'progress' ? progress(next, data) : next;
}

function state(card: Card, data: Record<string, unknown>, now: number): Card {
  const found = stateOf(data.state);
  if (found === undefined) {
    return card;
  }
  const { why: _why, unreachable: _unreachable, ...rest } = card;
  const next: Card = { ...rest, state: found, as_of: now };
  if (!ended(found)) {
    next.elapsed = Math.max(card.elapsed, now - card.submitted);
  }
  if (typeof data.reason === 'string' && data.reason !== '' && found !== 'running') {
    next.why = data.reason.slice(0, 1000);
  }
  if (typeof data.endpoint === 'string' && data.endpoint !== '') {
    next.endpoint = data.endpoint.slice(0, 200);
  }
  return next;
}

function progress(card: Card, data: Record<string, unknown>): Card {
  const next = { ...card };
  if (typeof data.note === 'string') {
    next.note = data.note.slice(0, 500);
  }
  const bars = new Map((card.progress ?? []).map(bar => [bar.id, bar]));
  const told: unknown[] = Array.isArray(data.bars) ? data.bars : 'done' in data ? [data] : [];
  for (const item of told) {
    const bar: Bar | undefined = readBar(item);
    if (bar === undefined) {
      continue;
    }
    if (isRecord(item) && item.ended === true) {
      bars.delete(bar.id);
    } else if (bars.has(bar.id) || bars.size < BARS) {
      bars.set(bar.id, bar);
    }
  }
  next.progress = [...bars.values()];
  return next;
}

/** The card after the hub said what it knows of the task as a whole. */
export function informed(card: Card, info: ITaskInfo, now: number): Card {
  const found = stateOf(info.state);
  if (ended(card.state) || found === undefined) {
    return card;
  }
  const { why: _why, unreachable: _unreachable, ...rest } = card;
  const next: Card = { ...rest, state: found, as_of: now };
  if (info.endpoint !== '') {
    next.endpoint = info.endpoint;
  }
  if (info.shown === 'UNREACHABLE') {
    next.unreachable = true;
  }
  if (info.why !== '' && !ended(found)) {
    next.why = info.why.slice(0, 1000);
  }
  if (!ended(found)) {
    next.elapsed = Math.max(card.elapsed, now - card.submitted);
    return next;
  }
  if (info.finished > 0 && info.submitted > 0) {
    next.elapsed = Math.max(0, info.finished - info.submitted);
    next.times = hops(info);
  }
  if (info.error !== null && found !== 'succeeded') {
    const error = {
      type: info.error.etype.slice(0, 200),
      message: info.error.message.slice(0, 2000)
    };
    const details = detailsOf(info.error.details);
    if (details !== '' && found !== 'cancelled') {
      next.details = details;
    }
    if (found === 'failed') {
      next.error = error;
    } else if (error.message !== '') {
      next.why = error.message.slice(0, 1000);
    }
  }
  if (found === 'succeeded') {
    next.progress = [];
  }
  return next;
}

function hops(info: ITaskInfo): NonNullable<Card['times']> {
  if (info.started <= 0) {
    return [];
  }
  return [
    { hop: 'queue', seconds: Math.max(0, info.started - info.submitted) },
    { hop: 'run', seconds: Math.max(0, info.finished - info.started) }
  ];
}

/** Which of two snapshots of one task says more: an end, else the newer one. */
export function newer(mine: Card, theirs: Card): Card {
  if (ended(mine.state) !== ended(theirs.state)) {
    return ended(mine.state) ? mine : theirs;
  }
  const found = theirs.as_of >= mine.as_of || ended(theirs.state) ? theirs : mine;
  return { ...found, event: Math.max(mine.event ?? 0, theirs.event ?? 0) };
}

/** What a card says beside the time: drawing it costs the page a frame, so the same is not drawn again. */
export function timeless(card: Card): Card {
  return { ...card, as_of: 0, elapsed: 0, event: 0 };
}
