/**
 * States in words. A translation says what a state of a task is called, and what one of a session: in many languages these
 * differ. A state that is not known here is shown as it is called there.
 */

import { TranslationBundle } from '@jupyterlab/translation';

function named(state: string, words: Readonly<Record<string, string>>): string {
  const name = state.toLowerCase();
  // It comes from elsewhere: only what is in the table is.
  return new Map(Object.entries(words)).get(name) ?? name;
}

export function taskState(state: string, trans: TranslationBundle): string {
  return named(state, {
    sent: trans._p('task', 'sent'),
    waiting: trans._p('task', 'waiting'),
    queued: trans._p('task', 'queued'),
    leased: trans._p('task', 'leased'),
    accepted: trans._p('task', 'accepted'),
    starting: trans._p('task', 'starting'),
    running: trans._p('task', 'running'),
    unreachable: trans._p('task', 'unreachable'),
    succeeded: trans._p('task', 'succeeded'),
    failed: trans._p('task', 'failed'),
    cancelled: trans._p('task', 'cancelled'),
    expired: trans._p('task', 'expired'),
    lost: trans._p('task', 'lost'),
    poisoned: trans._p('task', 'poisoned')
  });
}

export function endpointState(state: string, trans: TranslationBundle): string {
  return named(state, {
    enrolled: trans._p('endpoint', 'enrolled'),
    online: trans._p('endpoint', 'online'),
    unreachable: trans._p('endpoint', 'unreachable'),
    offline: trans._p('endpoint', 'offline'),
    deleted: trans._p('endpoint', 'deleted')
  });
}

export function sessionState(state: string, trans: TranslationBundle): string {
  return named(state, {
    requested: trans._p('session', 'requested'),
    opening: trans._p('session', 'opening'),
    open: trans._p('session', 'open'),
    closing: trans._p('session', 'closing'),
    closed: trans._p('session', 'closed'),
    lost: trans._p('session', 'lost')
  });
}

export function blockState(state: string, trans: TranslationBundle): string {
  return named(state, {
    submitting: trans._p('block', 'submitting'),
    pending: trans._p('block', 'pending'),
    starting: trans._p('block', 'starting'),
    running: trans._p('block', 'running'),
    draining: trans._p('block', 'draining'),
    ended: trans._p('block', 'ended'),
    failed: trans._p('block', 'failed')
  });
}
