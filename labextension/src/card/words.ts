/** A card in words; the kernel says the same things by the same names (jupyter_fx_kernel/cardview/words.py). */

import { TranslationBundle } from '@jupyterlab/translation';

import { english } from '../english';
import { clock, count, duration } from '../format';
import { taskState } from '../states';
import { Bar, Card } from '../types/card';
import { ended } from './read';

const MARKS: Partial<Record<Card['state'], string>> = { succeeded: '✓', cancelled: '■' };
/** To who waits for a cell, the steps on the way to its start are one of two. */
const STEPS: Partial<Record<Card['state'], string>> = {
  queued: 'waiting',
  leased: 'starting',
  accepted: 'starting'
};

export function mark(card: Card): string {
  return MARKS[card.state] ?? (ended(card.state) ? '✗' : '');
}

export function stateWords(card: Card, trans: TranslationBundle): string {
  const state = card.unreachable === true ? 'unreachable' : (STEPS[card.state] ?? card.state);
  return taskState(state, trans);
}

export function title(card: Card, trans: TranslationBundle): string {
  const place = card.endpoint ?? '';
  if (card.kind === 'cell') {
    return place || trans.__('remote');
  }
  const kinds = { call: trans.__('call'), map: trans.__('map'), wait: trans.__('wait') };
  const name = card.name ?? kinds[card.kind];
  return place ? trans.__('%1 on %2', name, place) : name;
}

function pace(
  rate: number | null | undefined,
  eta: number | null | undefined,
  unit: string,
  trans: TranslationBundle
): string[] {
  const words: string[] = [];
  if (rate) {
    const figure = count(Number(rate.toPrecision(3)), trans);
    words.push(unit ? trans.__('%1 %2/s', figure, unit) : trans.__('%1/s', figure));
  }
  return eta == null ? words : [...words, trans.__('%1 left', duration(eta, trans))];
}

export function barWords(bar: Bar, trans: TranslationBundle): string {
  const done = bar.total
    ? trans.__('%1 of %2', count(bar.done, trans), count(bar.total, trans))
    : count(bar.done, trans);
  return [
    bar.label ? `${bar.label} ${done}` : done,
    ...pace(bar.rate, bar.eta, bar.unit ?? '', trans)
  ].join(' · ');
}

export function mapWords(card: Card, trans: TranslationBundle): string {
  const map = card.map;
  if (map === undefined) {
    return '';
  }
  const over = ended(card.state);
  // What was cancelled has its outcome, but nobody would call it done.
  const whole = count(map.done - map.cancelled, trans);
  const words = [
    map.total === null
      ? trans.__('%1 done', whole)
      : trans.__('%1 of %2 done', whole, count(map.total, trans))
  ];
  if (map.running > 0 && !over) {
    words.push(trans.__('%1 running', count(map.running, trans)));
  }
  if (map.failed > 0) {
    words.push(trans.__('%1 failed', count(map.failed, trans)));
  }
  if (map.cancelled > 0) {
    words.push(trans.__('%1 cancelled', count(map.cancelled, trans)));
  }
  return [...words, ...(over ? [] : pace(map.rate, map.eta, '', trans))].join(' · ');
}

/** `waited 2.0 s · ran 31 s`. */
export function timesWords(card: Card, trans: TranslationBundle): string {
  const told = (card.times ?? []).map(({ hop, seconds }) => {
    const took = duration(seconds, trans);
    switch (hop) {
      case 'queue':
        return trans.__('waited %1', took);
      case 'start':
        return trans.__('started in %1', took);
      case 'run':
        return trans.__('ran %1', took);
      case 'back':
        return trans.__('came back in %1', took);
    }
  });
  return told.join(' · ');
}

/** The card in one line of plain text, for the saved notebook: in English, as the kernel writes it. */
export function line(card: Card, now: number): string {
  const over = ended(card.state);
  const words = [`${mark(card) || '…'} ${title(card, english)}`];
  if (card.state !== 'succeeded') {
    words.push(stateWords(card, english));
  }
  words.push(duration(card.elapsed, english));
  if (!over) {
    words.push(`as of ${clock(card.as_of, now)}`);
  }
  if (card.map !== undefined) {
    words.push(mapWords(card, english));
  } else if (!over) {
    words.push(...(card.progress ?? []).map(bar => barWords(bar, english)));
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
