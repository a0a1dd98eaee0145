/** Rows of the panel: what is said of sessions and endpoints, and which buttons they have. */

import { Live } from '../src/live';
import { EndpointRow } from '../src/panel/endpointrow';
import { IContext } from '../src/panel/sections';
import { SessionRow } from '../src/panel/sessionrow';
import { workersOf } from '../src/panel/workers';
import { Tasks } from '../src/tasks';
import { IAgent, IEndpointInfo, ISessionInfo } from '../src/tokens';
import { english as trans } from '../src/english';

const did: string[] = [];
let time = 1000;

function context(more: Partial<IContext> = {}): IContext {
  const note =
    (what: string) =>
    (...args: unknown[]): void => {
      did.push([what, ...args.filter(one => typeof one === 'string')].join(' '));
    };
  const does = new Proxy({}, { get: (_, name) => note(String(name)) });
  return {
    trans,
    does: does as IContext['does'],
    tasks: new Tasks(
      new Live(() => {
        throw new Error('nobody looks here');
      }),
      trans
    ),
    now: () => time,
    used: () => 'local',
    hasNotebook: () => true,
    pathOf: () => 'deep/a.ipynb',
    agentOf: () => null,
    doing: () => '',
    ...more
  };
}

const session = (more: Partial<ISessionInfo> = {}): ISessionInfo => ({
  session_id: 's',
  opened: 0,
  endpoint: 'local',
  state: 'OPEN',
  reason: '',
  kernel_id: 'k',
  notebook: 'a.ipynb',
  name: 'main',
  busy: false,
  idle: 30,
  ends_at: time + 3600,
  ends_why: '',
  info: { pid: 42, gpus: ['0', '1'], image: 'python.sif' },
  resources: { memory: 2e9, gpus: 2 },
  memory: 3e8,
  ...more
});
const endpoint = (more: Partial<IEndpointInfo> = {}): IEndpointInfo => ({
  endpoint_id: 'e',
  name: 'local',
  state: 'ONLINE',
  why: '',
  queued: 0,
  running: 0,
  leased: 0,
  seen: 0,
  info: {},
  ...more
});
const agent = (more: Partial<IAgent> = {}): IAgent => ({
  name: 'local',
  endpoint_id: 'e',
  hub: '',
  running: true,
  ssh: '',
  last: '',
  ...more
});
const buttons = (node: HTMLElement): string[] =>
  [...node.querySelectorAll('button')]
    .filter(one => one.closest('[hidden]') === null)
    .map(one => one.textContent || one.getAttribute('aria-label') || '');
const press = (node: HTMLElement, name: string): void => {
  [...node.querySelectorAll('button')]
    .find(one => name === (one.textContent || one.getAttribute('aria-label')))
    ?.click();
};

beforeEach(() => {
  did.length = 0;
  time = 1000;
});

describe('a session', () => {
  test('says its notebook, memory, GPUs, worker, and a clock that goes on between two looks', () => {
    const one = session();
    const row = new SessionRow(context(), one);
    row.update(one);
    const text = row.node.textContent;
    for (const said of [
      'a.ipynb',
      'idle for 30 s, ends in 1 h',
      'memory 300 MB of 2',
      'python.sif',
      'GPU 0, 1',
      'worker process 42'
    ]) {
      expect(text).toContain(said);
    }
    time += 10;
    row.update(one);
    expect(row.node.textContent).toContain('idle for 40 s');
    row.update(session({ idle: 0 }));
    expect(row.node.textContent).toMatch(/idle for 0/);
  });

  test('is opened, renewed, closed', () => {
    const row = new SessionRow(context(), session());
    row.update(session());
    expect(buttons(row.node)).toEqual(['Open', 'Renew', 'Close']);
    ['Open', 'Renew', 'Close'].forEach(name => {
      press(row.node, name);
    });
    expect(did).toEqual(['openNotebook k', 'renew', 'close']);
  });

  test('of a kernel without a notebook opens none; a busy one has no idle clock', () => {
    const row = new SessionRow(context({ pathOf: () => '' }), session());
    row.update(session({ notebook: '', busy: true }));
    expect(buttons(row.node)).toEqual(['Renew', 'Close']);
    expect(row.node.textContent).toContain('a kernel without a notebook');
    expect(row.node.textContent).not.toContain('idle');
  });
});

describe('workers', () => {
  const told = (workers: unknown, running: number, held?: number): IEndpointInfo =>
    endpoint({ info: { workers }, running, ...(held === undefined ? {} : { held }) });

  test.each([
    ['nothing is known', told(undefined, 0), [0, 0, 0]],
    ['a manager of another version', told(4, 1, 1), [0, 0, 0]],
    ['all as told', told({ busy: 1, held: 1, idle: 2 }, 1, 1), [1, 1, 2]],
    ['a cell has ended since', told({ busy: 1, idle: 3 }, 0, 1), [0, 1, 3]],
    ['a cell has begun since', told({ held: 1, idle: 3 }, 1, 0), [1, 0, 3]],
    ['one task on four workers', told({ busy: 4, idle: 1 }, 1, 0), [4, 0, 1]],
    ['a call beside an idle session', told({ busy: 2, idle: 1 }, 1, 1), [2, 1, 0]],
    ['more runs than there are', told({ busy: 1, idle: 1 }, 9, 1), [1, 1, 0]],
    ['an older hub', told({ held: 2, idle: 1 }, 0), [0, 2, 1]]
  ])('%s', (_what, item, expected) => {
    const { busy, held, idle } = workersOf(item);
    expect([busy, held, idle]).toEqual(expected);
  });
});

describe('an endpoint', () => {
  test('says why it is not ready, its images, its blocks with the reason of the scheduler', () => {
    const row = new EndpointRow(context({ used: () => 'other' }), endpoint());
    row.update(
      endpoint({
        why: 'waits for Slurm job 7',
        queued: 1500,
        running: 1,
        held: 1,
        info: {
          provider: 'Slurm',
          workers: { busy: 1, held: 1, idle: 2, starting: 2 },
          images: { 'python.sif': { warm: 2, busy: 1, held: 1 }, host: {} },
          blocks: [{ job: '7', state: 'pending', nodes: 2, reason: 'nodes are drained', ends: 0 }]
        }
      })
    );
    const text = row.node.textContent;
    for (const said of [
      'online',
      'waits for Slurm job 7',
      'workers: 1 busy, 1 held by an idle session, 2 idle · 2 starting',
      'tasks wait',
      'python.sif: 2 warm, 1 busy, 1 held',
      'Slurm 7 · pending · 2 nodes · nodes are drained'
    ]) {
      expect(text).toContain(said);
    }
    press(row.node, 'Use');
    expect(did).toEqual(['use local']);
  });

  test('of this machine that does not run says so, with its last words, and offers to start', () => {
    const off = agent({ running: false, last: 'no module named fx' });
    const row = new EndpointRow(
      context({ agentOf: () => off, used: () => 'other' }),
      endpoint({ name: 'mine' })
    );
    row.update(endpoint({ name: 'mine', state: 'OFFLINE' }));
    expect(row.node.textContent).toContain('its agent does not run: no module named fx');
    const quiet = agent({ running: false, last: '2026-11-21 08:28:26,141 INFO agent: stopped' });
    const stopped = new EndpointRow(context({ agentOf: () => quiet }), endpoint());
    stopped.update(endpoint({ state: 'OFFLINE' }));
    expect(stopped.node.textContent).not.toContain('INFO');
    expect(buttons(row.node)).toEqual(['Start', 'What can be done about mine']);
    press(row.node, 'What can be done about mine');
    expect(buttons(row.node).slice(2)).toEqual(['Configure', 'Log', 'Delete']);
    press(row.node, 'Start');
    expect(did).toEqual(['act start']);
  });

  test('of another machine is used and forgotten, not stopped or configured', () => {
    const row = new EndpointRow(context(), endpoint({ name: 'far' }));
    row.update(endpoint({ name: 'far' }));
    press(row.node, 'What can be done about far');
    expect(buttons(row.node)).toEqual(['Use', 'What can be done about far', 'Delete']);
  });
});
