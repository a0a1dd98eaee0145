import schema from '../../kernel/jupyter_fx_kernel/card.schema.json';

import { noticeOf } from '../src/card/announce';
import { english as trans } from '../src/english';
import { ended, readCard, stateOf } from '../src/card/read';
import { grouped, Pace } from '../src/card/mapping';
import { informed, newer, timeless, told } from '../src/card/reduce';
import { line, mapWords, stateWords } from '../src/card/words';
import { bundle, escaped, size, tail, TAIL_MAX } from '../src/card/write';
import { line as announcement } from '../src/notices/words';
import { IGroupInfo, ITaskInfo } from '../src/tokens';
import { Card } from '../src/types/card';

const base: Card = {
  version: 1,
  kind: 'cell',
  task_id: 'a'.repeat(32),
  state: 'running',
  endpoint: 'polaris',
  submitted: 100,
  as_of: 101,
  elapsed: 1
};
const info: ITaskInfo = {
  task_id: base.task_id,
  name: '',
  kind: 'cell',
  state: 'SUCCEEDED',
  shown: 'SUCCEEDED',
  why: '',
  endpoint: 'polaris',
  session_id: '',
  submitted: 100,
  started: 101,
  finished: 105,
  error: null,
  origin: {},
  group: '',
  items: 0
};

describe('reading a card', () => {
  it('knows every state of the page, in its order', () => {
    expect(schema.properties.state.enum.map(state => stateOf(state))).toEqual(
      schema.properties.state.enum
    );
    expect(schema.properties.state.enum.filter(state => ended(state as Card['state']))).toEqual(
      schema.properties.state.enum.slice(6)
    );
  });

  it.each([
    ['nothing', null],
    ['a text', 'card'],
    ['another version', { ...base, version: 2 }],
    ['a strange state', { ...base, state: 'dancing' }],
    ['no id', { ...base, task_id: '../../etc' }]
  ])('takes %s for none', (_what, found) => {
    expect(readCard(found)).toBeNull();
  });

  it('leaves out what has not the form', () => {
    const found = readCard({
      ...base,
      why: 7,
      progress: [{ id: 'a' }, 'x', { id: 'b', done: 2, total: Number.NaN, label: ['x'] }],
      map: { total: 'many', done: -3, failures: 'none', tasks: ['<script>'] },
      session: { id: 'short' },
      times: [{ hop: 'beam', seconds: 1 }],
      unknown: { field: 1 }
    });
    expect(found).not.toHaveProperty('why');
    expect(found?.progress).toEqual([{ id: 'b', done: 2 }]);
    expect(found?.map).toMatchObject({ total: null, done: 0, failures: [], tasks: [] });
    expect(found).not.toHaveProperty('session');
    expect(found?.times).toEqual([]);
    expect(found).not.toHaveProperty('unknown');
  });
});

describe('what is told of a task', () => {
  it('moves it on, and nothing moves an end', () => {
    const queued = { ...base, state: 'queued' as const };
    const running = told(queued, [3, 'state', 102, { state: 'running', endpoint: 'theta' }], 110);
    expect(running).toMatchObject({ state: 'running', endpoint: 'theta', event: 4, elapsed: 10 });
    const over = informed(running, info, 200);
    expect(over).toMatchObject({ state: 'succeeded', elapsed: 5 });
    expect(told(over, [9, 'state', 1, { state: 'running' }], 300)).toMatchObject({
      state: 'succeeded',
      event: 10
    });
    expect(informed(over, { ...info, state: 'LOST' }, 300).state).toBe('succeeded');
  });

  it('keeps what else is known of an error of the machinery, as text', () => {
    const details = { signal: 'SIGKILL', exit_code: null, rss: 2 ** 31, last_lines: ['one', 2] };
    const error = { etype: 'WorkerLost', message: 'killed', details };
    const over = informed(base, { ...info, state: 'FAILED', shown: 'FAILED', error }, 200);
    expect(over.error).toEqual({ type: 'WorkerLost', message: 'killed' });
    expect(over.details).toBe(
      'signal: SIGKILL\npeak memory: 2,048 MiB\nthe last lines that it wrote:\n    one\n    2'
    );
    const odd = { ...error, details: ['<b>'] };
    expect(informed(base, { ...info, state: 'FAILED', error: odd }, 200).details).toBeUndefined();
  });

  it('draws bars until they have ended', () => {
    const bars = [
      { id: 'a', done: 1, total: 4 },
      { id: 'b', done: 2 }
    ];
    const first = told(base, [0, 'progress', 1, { note: 'n', bars }], 2);
    expect(first.progress).toEqual(bars);
    const second = told(
      first,
      [1, 'progress', 1, { bars: [{ id: 'a', done: 4, ended: true }] }],
      3
    );
    expect(second.progress).toEqual([{ id: 'b', done: 2 }]);
    expect(second.note).toBe('n');
  });

  it('says why it waits, and for how long nobody has known', () => {
    const waits = informed(
      { ...base, state: 'queued' },
      { ...info, state: 'QUEUED', shown: 'QUEUED', why: 'pending (Priority)' },
      3
    );
    expect(waits.why).toBe('pending (Priority)');
    const silent = informed(base, { ...info, state: 'RUNNING', shown: 'UNREACHABLE' }, 3);
    expect(stateWords(silent, trans)).toBe('unreachable');
  });

  it('is the same again when only time has passed', () => {
    const later = { ...base, as_of: base.as_of + 1, elapsed: base.elapsed + 1, event: 7 };
    expect(timeless(later)).toEqual(timeless(base));
    expect(timeless({ ...later, note: 'x' })).not.toEqual(timeless(base));
  });

  it('takes the end over the newer snapshot', () => {
    const over: Card = { ...base, state: 'failed', as_of: 5 };
    expect(newer(over, { ...base, as_of: 50 }).state).toBe('failed');
    expect(newer({ ...base, as_of: 50 }, over).state).toBe('failed');
  });
});

describe('writing a card back', () => {
  it('escapes everything in the page and spells what could deceive', () => {
    const evil = '<img src=x onerror=alert(1)>';
    const made = bundle(
      { ...base, state: 'failed', why: evil, notices: [`\u202e${evil}`], tail: evil },
      200
    );
    expect(made['text/html']).not.toContain('<img');
    expect(made['text/html']).toContain(escaped(evil));
    expect(made['text/plain']).toContain('\\u202e');
  });

  it('keeps the last whole lines', () => {
    const kept = tail(Array.from({ length: 5000 }, (_, n) => `ä line ${n}`));
    expect(size(kept)).toBeLessThanOrEqual(TAIL_MAX);
    expect(kept.split('\n').at(-1)).toBe('ä line 4999');
    expect(kept.split('\n')[0]).toMatch(/^ä line \d+$/);
  });

  it('says in one line where it is', () => {
    expect(line({ ...base, state: 'succeeded', elapsed: 3.21 }, 200)).toBe('✓ polaris · 3.2 s');
    expect(line({ ...base, state: 'lost', why: 'its node went' }, 200)).toBe(
      '✗ polaris · lost · 1.0 s · its node went · task aaaaaaaa'
    );
  });
});

describe('what is told to who looks elsewhere', () => {
  it('is one line of plain text within bounds', () => {
    const card: Card = { ...base, state: 'failed', elapsed: 75, name: 'x\u202e'.repeat(50) };
    const said = announcement(noticeOf(card), trans);
    expect(said).toContain('on polaris: failed after 1 min 15 s');
    expect(said).not.toContain('\u202e');
    expect(said.length).toBeLessThan(140);
  });
});

describe('a map', () => {
  const map: Card = {
    ...base,
    kind: 'map',
    group: base.task_id,
    map: { total: 100, done: 37, running: 2, failed: 1, cancelled: 0, failures: [], tasks: [] }
  };
  const group: IGroupInfo = {
    endpoint: 'polaris',
    submitted: 100,
    finished: 0,
    active: 3,
    states: { SUCCEEDED: 3, RUNNING: 2, QUEUED: 1 },
    items: 60,
    done: 30,
    failed: 1,
    cancelled: 0,
    running: 2,
    why: '',
    unreachable: false,
    failures: []
  };

  it('goes on from what the hub counts, and never back behind what its kernel has said', () => {
    const next = grouped(map, group, 5, 110, trans);
    expect(next).toMatchObject({ state: 'running', elapsed: 10, as_of: 110 });
    expect(next.map).toMatchObject({ total: 100, done: 37, running: 2, failed: 1, rate: 5 });
    expect(next.map?.eta).toBeCloseTo(12.6);
    expect(grouped(next, { ...group, done: 60 }, null, 120, trans).map?.done).toBe(60);
  });

  it('says what it waits for while none of it has begun', () => {
    const young = { ...map, map: { total: 9, done: 0, running: 0, failed: 0, cancelled: 0 } };
    const waits = { ...group, states: { QUEUED: 3 }, done: 0, running: 0, why: 'job 7 is pending' };
    expect(grouped(young, waits, null, 110, trans)).toMatchObject({
      state: 'queued',
      why: waits.why
    });
    expect(grouped(young, { ...waits, unreachable: true }, null, 110, trans).unreachable).toBe(
      true
    );
  });

  it('is over only when all of its items are back, or it was cancelled', () => {
    const still = { ...group, active: 0, states: { SUCCEEDED: 6 }, done: 60, running: 0 };
    const waiting = grouped(map, { ...still, finished: 130 }, 1, 140, trans);
    expect(waiting.state).toBe('waiting');
    expect(waiting.why).toContain('all 60 of 100 items that were sent');
    expect(waiting.map).toMatchObject({ done: 60, rate: null, eta: null });
    const whole = { ...still, items: 100, done: 100, finished: 130 };
    expect(grouped(map, { ...whole, failed: 0 }, 1, 140, trans)).toMatchObject({
      state: 'succeeded',
      elapsed: 30
    });
    const failures = [
      { index: 4, input: '4', error: 'ValueError: four' },
      { index: 7, input: '', error: 'WorkerLost: killed' }
    ];
    const counts = { total: 100, done: 37, running: 2, failed: 1, cancelled: 0 };
    const known = [{ index: 7, input: '70', error: 'lost' }];
    const shot: Card = { ...map, map: { ...counts, failures: known } };
    const failed = grouped(shot, { ...whole, failures }, 1, 140, trans);
    expect(failed.state).toBe('failed');
    expect(failed.map?.failures).toEqual([failures[0], known[0]]);
    const stopped = { ...still, states: { SUCCEEDED: 5, CANCELLED: 1 }, cancelled: 10 };
    const end = grouped(map, stopped, 1, 140, trans);
    expect(end).toMatchObject({ state: 'cancelled', map: { done: 60, cancelled: 10 } });
    expect(mapWords(end, trans)).toMatch(/^50 (of [\d,]+ )?done( · \d+ failed)? · 10 cancelled$/);
    expect(grouped(end, group, 5, 150, trans)).toBe(end);
  });

  it('has the rate of its last seconds', () => {
    const pace = new Pace();
    expect(pace.heard(0, 0)).toBeNull();
    expect(pace.heard(10, 100)).toBe(10);
    expect(pace.heard(20, 100)).toBeNull();
    expect(pace.heard(21, 110)).toBeCloseTo(10 / 11);
  });
});
