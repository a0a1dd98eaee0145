/** Where a notebook's remote cells run, in a few words for its toolbar and in a sentence for who asks. Pure. */

import { TranslationBundle } from '@jupyterlab/translation';

import { bytes, coarse, plain } from '../format';
import { endpointState } from '../states';
import { IEndpointInfo, ISessionInfo, IStatus } from '../tokens';

/** Seconds before a session's end from which on its end is told instead of its idle time. */
const SOON = 600;

export type Tone = 'warm' | 'busy' | 'cold' | 'held' | 'off';

export interface ISituation {
  readonly endpoint: string;
  /** The endpoint that is being chosen; empty most of the time. */
  readonly pending: string;
  readonly session: ISessionInfo | null;
  /** undefined: the hub has none of this name; null: nothing is known yet. */
  readonly info: IEndpointInfo | undefined | null;
  readonly status: IStatus | null;
  /** Seconds since the epoch: of the hub's answer, and now. */
  readonly at: number;
  readonly now: number;
}

export interface IWords {
  readonly tone: Tone;
  /** Beside the endpoint's name. */
  readonly state: string;
  readonly about: string;
}

export function words(of: ISituation, trans: TranslationBundle): IWords {
  const name = plain(of.endpoint);
  if (of.pending !== '') {
    return {
      tone: 'held',
      state: trans.__('→ %1 …', plain(of.pending)),
      about: trans.__(
        'The kernel is told to use %1; it does so once it is idle.',
        plain(of.pending)
      )
    };
  }
  if (of.endpoint === '') {
    const about = trans.__('The kernel has not said yet where remote cells of this notebook run.');
    return { tone: 'off', state: '', about };
  }
  if (of.status === null) {
    return { tone: 'off', state: '', about: trans.__('Remote cells run on %1.', name) };
  }
  if (!of.status.connected) {
    const why = plain(of.status.problem) || trans.__('there is no fx hub');
    return {
      tone: 'held',
      state: trans.__('no hub'),
      about: trans.__('Remote cells of this notebook run on %1, but %2.', name, why)
    };
  }
  return of.session === null ? cold(of, name, trans) : warm(of.session, of, name, trans);
}

function cold(of: ISituation, name: string, trans: TranslationBundle): IWords {
  if (of.info === undefined) {
    return {
      tone: 'held',
      state: trans.__('unknown'),
      about: trans.__('The hub has no endpoint %1: choose another one.', name)
    };
  }
  if (of.info !== null && of.info.state !== 'ONLINE') {
    const state = plain(endpointState(of.info.state, trans));
    const why = plain(of.info.why) || state;
    return {
      tone: 'held',
      state,
      about: trans.__('Remote cells of this notebook wait for %1: %2', name, why)
    };
  }
  return {
    tone: 'cold',
    state: trans.__('cold'),
    about: trans.__(
      'Remote cells of this notebook run on %1; the first one opens its session.',
      name
    )
  };
}

function warm(
  session: ISessionInfo,
  of: ISituation,
  name: string,
  trans: TranslationBundle
): IWords {
  const since = Math.max(0, of.now - of.at);
  if (session.state !== 'OPEN') {
    const reason = plain(session.reason) || trans.__('it waits for a worker');
    return {
      tone: 'held',
      state: session.state === 'CLOSING' ? trans.__('closing') : trans.__('starting'),
      about: trans.__('The session of this notebook on %1: %2', name, reason)
    };
  }
  const rss = session.info.rss;
  const memory =
    typeof rss === 'number' && rss > 0 ? trans.__('It takes %1 of memory.', bytes(rss, trans)) : '';
  if (session.busy) {
    const about = trans.__('A cell of this notebook runs on %1, in a warm session.', name);
    return { tone: 'busy', state: trans.__('busy'), about: `${about} ${memory}`.trim() };
  }
  const idle = coarse(session.idle + since, trans);
  const left = session.ends_at === null ? Infinity : session.ends_at - of.now;
  const parts = [
    trans.__('The session of this notebook on %1 is warm and has been idle for %2.', name, idle),
    Number.isFinite(left) ? trans.__('It ends in %1 if it stays so.', coarse(left, trans)) : '',
    memory
  ];
  return {
    tone: left < SOON ? 'held' : 'warm',
    state:
      left < SOON ? trans.__('ends in %1', coarse(left, trans)) : trans.__('warm, idle %1', idle),
    about: parts.filter(Boolean).join(' ')
  };
}
