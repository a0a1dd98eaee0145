/** What is said of tasks that have ended to whoever looks elsewhere. One line of plain text each. */

import { TranslationBundle } from '@jupyterlab/translation';

import { count, duration, plain } from '../format';
import { taskState } from '../states';
import { INotice } from '../tokens';

/** JupyterLab shows 140 characters. */
const NAME_MAX = 60;

export function line(notice: INotice, trans: TranslationBundle): string {
  const name = plain(notice.name).slice(0, NAME_MAX) || trans.__('A remote task');
  const where = plain(notice.endpoint).slice(0, 40);
  const took = duration(notice.elapsed, trans);
  const state = plain(taskState(notice.state, trans));
  const many = notice.count;
  if (many === 1) {
    return trans.__('%1 on %2: %3 after %4', name, where, state, took);
  }
  return notice.failed > 0
    ? trans.__(
        '%1 on %2: %3 of %4 failed, after %5',
        name,
        where,
        count(notice.failed, trans),
        count(many, trans),
        took
      )
    : trans.__('%1 on %2: all %3 %4 after %5', name, where, count(many, trans), state, took);
}

/** Of many at once. */
export function summary(notices: readonly INotice[], trans: TranslationBundle): string {
  const failed = notices.filter(one => one.failed > 0).length;
  return failed > 0
    ? trans.__(
        '%1 long remote tasks have ended, %2 of them failed',
        count(notices.length, trans),
        count(failed, trans)
      )
    : trans.__('%1 long remote tasks have ended', count(notices.length, trans));
}
