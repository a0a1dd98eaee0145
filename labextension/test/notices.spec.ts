/** Which ends of tasks are news, and what is said of them. */

import { Endings, IMemory, NOTHING } from '../src/notices/endings';
import { line, summary } from '../src/notices/words';
import { ITaskInfo } from '../src/tokens';
import { english as trans } from '../src/english';

const LONG = 60;
const task = (task_id: string, over: Partial<ITaskInfo> = {}): ITaskInfo => ({
  task_id,
  name: 'training',
  kind: 'cell',
  state: 'RUNNING',
  shown: 'RUNNING',
  why: '',
  endpoint: 'polaris',
  session_id: '',
  submitted: 1000,
  started: 1010,
  finished: 0,
  error: null,
  origin: { kernel_id: 'k1' },
  group: '',
  items: 0,
  ...over
});
const end = (one: ITaskInfo, finished: number, state = 'SUCCEEDED'): ITaskInfo => ({
  ...one,
  state,
  finished,
  origin: {}
});

describe('ends of tasks', () => {
  it('are told once, with the kernel that the hub does not name any more', () => {
    const endings = new Endings();
    const [none, first] = endings.take([task('a')], NOTHING, LONG);
    expect(none).toEqual([]);
    const [told, second] = endings.take([end(task('a'), 1100)], first, LONG);
    expect(told).toMatchObject([{ tasks: ['a'], elapsed: 90, failed: 0, kernelId: 'k1' }]);
    expect(endings.take([end(task('a'), 1100)], second, LONG)[0]).toEqual([]);
    expect(new Endings().take([end(task('a'), 1100)], second, LONG)[0]).toEqual([]);
  });

  it('are not told when they were short', () => {
    const endings = new Endings();
    const [, memory] = endings.take([task('a')], NOTHING, LONG);
    const [none, known] = endings.take([end(task('a'), 1069)], memory, LONG);
    expect(none).toEqual([]);
    expect(endings.take([end(task('a'), 1069)], known, LONG)[0]).toEqual([]);
    // Its card may still tell: its notebook may have asked for shorter ones.
    expect(known.told).toEqual([]);
  });

  it('of before the first look are no news, those of while no page looked are', () => {
    const old = end(task('old'), 5000);
    const [none, memory] = new Endings().take([old], NOTHING, LONG);
    expect(none).toEqual([]);
    const missed = end(task('missed', { started: 5100 }), 9000, 'FAILED');
    const [told] = new Endings().take([missed, old], memory, LONG);
    expect(told).toMatchObject([{ tasks: ['missed'], state: 'failed', failed: 1 }]);
  });

  it('are news after a look at a hub where nothing had ended', () => {
    const [, memory] = new Endings().take([], NOTHING, LONG);
    expect(new Endings().take([end(task('a'), 2000)], memory, LONG)[0]).toHaveLength(1);
  });

  it('of a map are one, when none of its chunks goes on', () => {
    const endings = new Endings();
    const chunks = ['a', 'b', 'c'].map(id => task(id, { kind: 'map', group: 'g' }));
    const [a, b, c] = chunks as [ITaskInfo, ITaskInfo, ITaskInfo];
    let memory: IMemory = endings.take(chunks, NOTHING, LONG)[1];
    let told;
    [told, memory] = endings.take([end(a, 1100), end(b, 1200), c], memory, LONG);
    expect(told).toEqual([]);
    [told] = endings.take([end(a, 1100), end(b, 1200, 'FAILED'), end(c, 1300)], memory, LONG);
    expect(told).toMatchObject([{ count: 3, failed: 1, elapsed: 290, state: 'failed' }]);
  });

  it('of a map are not told again after its card has', () => {
    const endings = new Endings();
    const chunks = ['a', 'b'].map(id => task(id, { kind: 'map', group: 'g' }));
    const [, memory] = endings.take(chunks, NOTHING, LONG);
    const known = { ...memory, told: ['a'] };
    const over = chunks.map(one => end(one, 1900));
    expect(endings.take(over, known, LONG)[0]).toEqual([]);
  });

  it('of many calls of one function are one', () => {
    const endings = new Endings();
    const calls = ['a', 'b'].map(id => task(id, { kind: 'call', name: 'simulate' }));
    const [a, b] = calls as [ITaskInfo, ITaskInfo];
    let memory: IMemory = endings.take(calls, NOTHING, LONG)[1];
    let told;
    [told, memory] = endings.take([end(a, 1200), b], memory, LONG);
    expect(told).toEqual([]);
    [told] = endings.take([end(a, 1200), end(b, 1300)], memory, LONG);
    expect(told).toMatchObject([{ count: 2, elapsed: 290 }]);
  });

  it('that never started count from when they were submitted', () => {
    const endings = new Endings();
    const waiting = task('a', { state: 'QUEUED', started: 0 });
    const [, memory] = endings.take([waiting], NOTHING, LONG);
    const [told] = endings.take([end(waiting, 9000, 'EXPIRED')], memory, LONG);
    expect(told).toMatchObject([{ elapsed: 8000, state: 'expired', failed: 1 }]);
  });

  it('are said in one plain line', () => {
    const notice = {
      tasks: ['a'],
      count: 1,
      name: 'x\u202e'.repeat(50),
      endpoint: 'polaris',
      state: 'succeeded',
      failed: 0,
      elapsed: 75,
      kernelId: ''
    };
    expect(line(notice, trans)).toContain('on polaris: succeeded after 1 min 15 s');
    expect(line(notice, trans)).not.toContain('\u202e');
    const map = { ...notice, name: 'simulate', count: 1000, failed: 3, state: 'failed' };
    expect(line(map, trans)).toBe('simulate on polaris: 3 of 1,000 failed, after 1 min 15 s');
    expect(summary([notice, map], trans)).toBe('2 long remote tasks have ended, 1 of them failed');
  });
});
