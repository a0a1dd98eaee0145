/** A page in another language: what we say is translated, what machines read and what others said is not. */

import { TranslationBundle } from '@jupyterlab/translation';

import { CardView, ISituation } from '../src/card/view';
import { bundle } from '../src/card/write';
import { english } from '../src/english';
import { amount, bytes, coarse, count, duration } from '../src/format';
import { line } from '../src/notices/words';
import { blockState, endpointState, sessionState, taskState } from '../src/states';
import { Card } from '../src/types/card';

const GERMAN: Readonly<Record<string, string>> = {
  'BCP 47 tag of the language, by which numbers are written|en': 'de',
  'task|running': 'läuft',
  'task|failed': 'gescheitert',
  'session|lost': 'verloren gegangen',
  '%1 on %2': '%1 auf %2',
  '%1 of %2 done': '%1 von %2 fertig',
  '%1 running': '%1 laufen',
  '%1 left': 'noch %1',
  '%1 h %2 min': '%1 Std. %2 Min.',
  '%1 on %2: %3 after %4': '%1 auf %2: %3 nach %4',
  Cancel: 'Abbrechen'
};
const said = (text: string, args: unknown[]): string => english.__(text, ...args);
const german = {
  __: (text: string, ...args: unknown[]) => said(GERMAN[text] ?? text, args),
  _n: (one: string, many: string, n: number, ...args: unknown[]) =>
    english._n(GERMAN[one] ?? one, GERMAN[many] ?? many, n, ...args),
  _p: (context: string, text: string, ...args: unknown[]) =>
    said(GERMAN[`${context}|${text}`] ?? text, args)
} as TranslationBundle;

const card: Card = {
  version: 1,
  kind: 'map',
  task_id: 'a'.repeat(32),
  name: 'simulate',
  endpoint: 'polaris',
  state: 'running',
  submitted: 100,
  as_of: 101,
  elapsed: 7500,
  note: 'running well',
  map: { total: 20_000, done: 12_345, running: 1, failed: 0, cancelled: 0, rate: 2.5, eta: 7260 }
};
const situation: ISituation = {
  elapsed: 7500,
  current: true,
  trouble: '',
  offer: 'none',
  cancel: 'cancel',
  cancelling: false,
  log: 'none'
};
const nothing = (): void => undefined;
const actions = { cancel: nothing, kill: nothing, log: nothing, look: nothing, copy: nothing };

describe('a translated page', () => {
  it('has cards in its language, with the numbers of that language', () => {
    const view = new CardView(german, actions, document.createElement('div'));
    view.update({ ...card, kind: 'call' }, situation);
    expect(view.node.querySelector('.fx-title')?.textContent).toBe('simulate auf polaris');
    expect(view.node.querySelector('.fx-state')?.textContent).toBe('läuft');
    expect(view.node.querySelector('.fx-elapsed')?.textContent).toBe('2 Std. 5 Min.');
    expect(view.node.querySelector('.fx-said')?.textContent).toBe(
      '12.345 von 20.000 fertig · 1 laufen · 2,5/s · noch 2 Std. 1 Min. · running well'
    );
    expect(view.node.querySelector('.fx-cancel')?.textContent).toBe('Abbrechen');
  });

  it('has states that style sheets and tests read as ever', () => {
    const view = new CardView(german, actions, document.createElement('div'));
    view.update(card, situation);
    expect(view.node.dataset.state).toBe('running');
  });

  it('writes into the notebook what the kernel would have written', () => {
    const made = bundle({ ...card, state: 'failed' }, 200)['text/plain'];
    expect(made).toContain('✗ simulate on polaris · failed · 2 h 5 min · 12,345 of 20,000 done');
  });

  it('tells the end of a task in its language', () => {
    const notice = {
      tasks: ['a'],
      count: 1,
      name: 'simulate',
      endpoint: 'polaris',
      state: 'failed',
      failed: 1,
      elapsed: 7500,
      kernelId: ''
    };
    expect(line(notice, german)).toBe('simulate auf polaris: gescheitert nach 2 Std. 5 Min.');
  });
});

describe('states', () => {
  it('are named by what has them', () => {
    expect(sessionState('LOST', german)).toBe('verloren gegangen');
    expect(taskState('LOST', german)).toBe('lost');
  });

  it.each([taskState, endpointState, sessionState, blockState])(
    'that nobody knows are shown as they are called',
    named => {
      expect(named('CONSTRUCTOR', german)).toBe('constructor');
      expect(named('__proto__', german)).toBe('__proto__');
    }
  );
});

describe('numbers', () => {
  it.each([
    [0.34, '0.3 s'],
    [9.96, '10 s'],
    [59.6, '1 min 0 s'],
    [3599.7, '1 h 0 min'],
    [7500, '2 h 5 min'],
    [-1, '0.0 s']
  ])('%d seconds are %s', (seconds, text) => {
    expect(duration(seconds, english)).toBe(text);
  });

  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1400, '1.4 kB'],
    [250e6, '250 MB'],
    [5e12, '5000 GB']
  ])('%d bytes are %s', (number, text) => {
    expect(bytes(number, english)).toBe(text);
  });

  it('have no needless digits, and a clock none that move', () => {
    expect([2, 2.5, 0.123456, 12.3456, 1234.5].map(one => amount(one, english))).toEqual([
      '2', '2.5', '0.123', '12.3', '1230'
    ]); // prettier-ignore
    expect([7, 99.5, 1234.5].map(one => count(one, english))).toEqual(['7', '99.5', '1,235']);
    expect([59, 60, 3660].map(one => coarse(one, english))).toEqual([
      '< 1 min',
      '1 min',
      '1 h 1 min'
    ]);
  });

  it('are English where a translation names a language that there is not', () => {
    const odd = { ...english, _p: () => 'no language' } as TranslationBundle;
    expect(count(1234, odd)).toBe('1,234');
  });
});
