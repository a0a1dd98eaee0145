/** What is said of a task that has ended to whoever looks elsewhere. */

import { TranslationBundle } from '@jupyterlab/translation';

import { duration, plain } from '../format';
import { Card } from '../types/card';
import { stateWords } from './words';

/** JupyterLab shows 140 characters. */
const NAME_MAX = 60;

/** One line of plain text. */
export function announcement(card: Card, trans: TranslationBundle): string {
  const name = plain(card.name ?? '').slice(0, NAME_MAX) || trans.__('A remote task');
  const where = plain(card.endpoint ?? '').slice(0, 40);
  return trans.__('%1 on %2: %3 after %4', name, where, stateWords(card), duration(card.elapsed));
}
