/** Where a notebook's cells run, in words; what is said to its kernel; what a launcher offers. */

import {
  choose,
  environ,
  fx,
  isName,
  loads,
  readWhere,
  refusal,
  unlessLoaded
} from '../src/front/python';
import { counts, offered } from '../src/offers';
import { coarse } from '../src/format';
import { ISituation, words } from '../src/toolbar/words';
import { IEndpointInfo, ISessionInfo, IState, IStatus } from '../src/tokens';
import { english as trans } from '../src/english';

const connected: IStatus = { connected: true, address: '', user: 'me', problem: '', hub: 'own' };
const polaris: IEndpointInfo = {
  endpoint_id: 'e1',
  name: 'polaris',
  state: 'ONLINE',
  why: '',
  queued: 2,
  running: 3,
  leased: 1,
  seen: 0,
  info: {}
};
const session: ISessionInfo = {
  session_id: 's1',
  state: 'OPEN',
  endpoint: 'polaris',
  kernel_id: 'k1',
  name: 'main',
  notebook: 'a.ipynb',
  opened: 0,
  reason: '',
  busy: false,
  idle: 100,
  ends_at: 10_000,
  ends_why: '',
  info: { rss: 5e7 }
};
const situation: ISituation = {
  endpoint: 'polaris',
  pending: '',
  session: null,
  info: polaris,
  status: connected,
  at: 1000,
  now: 1100
};

describe('where cells run', () => {
  it('is cold before the first cell', () => {
    expect(words(situation, trans)).toMatchObject({ tone: 'cold', state: 'cold' });
  });

  it('is warm, with a clock that goes on between looks', () => {
    const found = words({ ...situation, session }, trans);
    expect(found).toMatchObject({ tone: 'warm', state: 'warm, idle 3 min' });
    expect(found.about).toContain('50.0 MB');
    expect(found.about).toContain('ends in 2 h 28 min');
  });

  it('tells its end instead when that is near', () => {
    const soon = { ...session, ends_at: 1400 };
    expect(words({ ...situation, session: soon }, trans)).toMatchObject({
      tone: 'held',
      state: 'ends in 5 min'
    });
  });

  it('is busy while a cell runs, and starting before it is open', () => {
    expect(words({ ...situation, session: { ...session, busy: true } }, trans).tone).toBe('busy');
    const opening = { ...session, state: 'OPENING', reason: 'Slurm job 12 pending (Priority)' };
    const found = words({ ...situation, session: opening }, trans);
    expect(found.state).toBe('starting');
    expect(found.about).toContain('Slurm job 12 pending (Priority)');
  });

  it('says what is wrong: no hub, an endpoint that is away, one that is none', () => {
    const gone = { ...connected, connected: false, problem: 'it does not answer' };
    expect(words({ ...situation, status: gone }, trans).about).toContain('it does not answer');
    const away = { ...polaris, state: 'OFFLINE', why: 'nobody started it' };
    expect(words({ ...situation, info: away }, trans).about).toContain('nobody started it');
    expect(words({ ...situation, info: undefined }, trans).state).toBe('unknown');
  });

  it('claims nothing before the kernel has said it, and says what is being chosen', () => {
    expect(words({ ...situation, endpoint: '' }, trans).state).toBe('');
    expect(words({ ...situation, pending: 'aurora' }, trans).state).toBe('→ aurora …');
  });

  it('shows hostile texts as text without what deceives', () => {
    const away = { ...polaris, state: 'OFFLINE', why: 'x\u202ey<img>' };
    expect(words({ ...situation, info: away }, trans).about).toContain('x\\u202ey<img>');
  });

  it('counts in minutes', () => {
    expect([0, 59, 60, 3599, 3600].map(one => coarse(one, trans))).toEqual([
      '< 1 min',
      '< 1 min',
      '1 min',
      '59 min',
      '1 h 0 min'
    ]);
  });
});

describe('what is said to a kernel', () => {
  it('names only what can be a name', () => {
    expect(isName('polaris-2')).toBe(true);
    for (const bad of ['', 'A', '-a', 'a"b', "a'); import os", 'a'.repeat(64), null, 3]) {
      expect(isName(bad)).toBe(false);
    }
  });

  it('loads the magics, or leaves that to the notebook', () => {
    expect(fx('use polaris')).toContain('load_extension("jupyter_fx")');
    expect(choose('polaris')).not.toContain('load_extension');
    expect(choose('polaris')).toContain(environ('polaris'));
    expect(loads('import numpy\n  %load_ext jupyter_fx')).toBe(true);
    expect(loads('# %load_ext jupyter_fx')).toBe(false);
  });

  it('leaves a kernel alone that has the magics', () => {
    const lines = unlessLoaded(fx('use polaris')).split('\n');
    expect(lines[0]).toBe('if not ("FxMagics" in get_ipython().magics_manager.registry):');
    expect(lines.slice(1).join('\n')).toBe(fx('use polaris').replace(/^/gm, '    '));
    expect(unlessLoaded('')).toBe('');
  });

  it('reads what it answers, and nothing else', () => {
    expect(readWhere("'polaris'")).toBe('polaris');
    expect(readWhere("''")).toBe('');
    for (const bad of [null, '', "'X'", "'a b'", "'a\"'", 'None']) {
      expect(readWhere(bad)).toBeNull();
    }
  });

  it('says why it refused', () => {
    const error = { status: 'error', ename: 'ModuleNotFoundError', evalue: 'x', traceback: [] };
    expect(refusal(error as never, trans)).toContain('%pip install jupyter-fx');
    expect(refusal({ ...error, ename: 'UsageError' } as never, trans)).toBe('x');
  });
});

describe('what else shows endpoints', () => {
  const of = (name: string, state = 'ONLINE'): IEndpointInfo => ({ ...polaris, name, state });
  const state: IState = {
    endpoints: [of('zeta'), of('off', 'OFFLINE'), of('alpha'), of('<img>')],
    at: 0,
    stale: false,
    problem: ''
  };

  it('offers those that are ready first, and eight at most', () => {
    expect(offered(state)).toEqual(['alpha', 'zeta', 'off']);
    const many = Array.from({ length: 20 }, (_, n) => of(`e${n}`));
    expect(offered({ ...state, endpoints: many })).toHaveLength(8);
  });

  it('counts what runs and waits', () => {
    expect(counts({ ...state, endpoints: [polaris] }, trans)).toBe('3 running, 3 waiting');
    expect(counts(null, trans)).toBe('');
  });
});
