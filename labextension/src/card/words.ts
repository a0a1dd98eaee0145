/** A card in words; the kernel says the same things by the same names (jupyter_fx_kernel/cardview/words.py). */

import { amount, clock, duration } from '../format';
import { Bar, Card } from '../types/card';
import { ended } from './read';

const MARKS: Partial<Record<Card['state'], string>> = { succeeded: '✓', cancelled: '■' };
const STATES: Partial<Record<Card['state'], string>> = {
  queued: 'waiting',
  leased: 'starting',
  accepted: 'starting'
};
const HOPS = { queue: 'waited', start: 'started in', run: 'ran', back: 'came back in' };

export function mark(card: Card): string {
  return MARKS[card.state] ?? (ended(card.state) ? '✗' : '');
}

export function stateWords(card: Card): string {
  return card.unreachable === true ? 'unreachable' : (STATES[card.state] ?? card.state);
}

export function title(card: Card): string {
  const place = card.endpoint ?? '';
  if (card.kind === 'cell') {
    return place || 'remote';
  }
  const name = card.name ?? card.kind;
  return place ? `${name} on ${place}` : name;
}

export function count(value: number): string {
  return Math.abs(value) >= 100 ? Math.round(value).toLocaleString('en') : amount(value);
}

function pace(
  rate: number | null | undefined,
  eta: number | null | undefined,
  unit: string
): string[] {
  const words = rate ? [`${count(Number(rate.toPrecision(3)))}${unit ? ` ${unit}` : ''}/s`] : [];
  return eta == null ? words : [...words, `${duration(eta)} left`];
}

export function barWords(bar: Bar): string {
  const done = bar.total ? `${count(bar.done)} of ${count(bar.total)}` : count(bar.done);
  return [
    bar.label ? `${bar.label} ${done}` : done,
    ...pace(bar.rate, bar.eta, bar.unit ?? '')
  ].join(' · ');
}

export function mapWords(card: Card): string {
  const map = card.map;
  if (map === undefined) {
    return '';
  }
  const over = ended(card.state);
  // What was cancelled has its outcome, but nobody would call it done.
  const whole = count(map.done - map.cancelled);
  const done = map.total === null ? whole : `${whole} of ${count(map.total)}`;
  const told = ([] as [string, number][]).concat(over ? [] : [['running', map.running]], [
    ['failed', map.failed],
    ['cancelled', map.cancelled]
  ]);
  const words = told.filter(([, n]) => n > 0).map(([name, n]) => `${count(n)} ${name}`);
  return [`${done} done`, ...words, ...(over ? [] : pace(map.rate, map.eta, ''))].join(' · ');
}

/** `waited 2.0 s · ran 31 s`. */
export function timesWords(card: Card): string {
  return (card.times ?? []).map(time => `${HOPS[time.hop]} ${duration(time.seconds)}`).join(' · ');
}

/** The card in one line of plain text, for the saved notebook. */
export function line(card: Card, now: number): string {
  const over = ended(card.state);
  const words = [`${mark(card) || '…'} ${title(card)}`];
  if (card.state !== 'succeeded') {
    words.push(stateWords(card));
  }
  words.push(duration(card.elapsed));
  if (!over) {
    words.push(`as of ${clock(card.as_of, now)}`);
  }
  if (card.map !== undefined) {
    words.push(mapWords(card));
  } else if (!over) {
    words.push(...(card.progress ?? []).map(barWords));
  }
  for (const said of [card.note, card.ended, card.why]) {
    if (said) {
      words.push(said);
    }
  }
  if (card.error !== undefined) {
    words.push(`${card.error.type}: ${card.error.message}`);
  }
  if (card.state !== 'succeeded' && (card.kind === 'cell' || card.kind === 'call')) {
    words.push(`task ${card.task_id.slice(-8)}`);
  }
  return words.join(' · ');
}
