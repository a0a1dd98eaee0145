/** What the workers of an endpoint do. Pure. */

import { TranslationBundle } from '@jupyterlab/translation';

import { count } from '../format';
import { isRecord } from '../requests';
import { IEndpointInfo } from '../tokens';
import { number, word } from './sections';

export interface IWorkers {
  readonly busy: number;
  /** Of a session in which nothing runs. */
  readonly held: number;
  readonly idle: number;
  readonly starting: number;
}

/**
 * What its workers do an endpoint tells every few seconds. What runs there, and in how many sessions nothing does, the hub
 * knows to the moment: so it decides, and the counts of one answer fit each other.
 */
export function workersOf(item: IEndpointInfo): IWorkers {
  const told = isRecord(item.info.workers) ? item.info.workers : {};
  const [working, kept, free] = [number(told.busy), number(told.held), number(told.idle)];
  const all = working + kept + free;
  const held = Math.min(all, item.held ?? kept);
  // A task may take several workers: while something runs, the endpoint's own larger count is the better one.
  const least = Math.min(all - held, item.running);
  const busy = item.running === 0 ? 0 : Math.max(least, Math.min(all - held, working));
  return { busy, held, idle: all - held - busy, starting: number(told.starting) };
}

export function workersWords(item: IEndpointInfo, trans: TranslationBundle): string[] {
  const { busy, held, idle, starting } = workersOf(item);
  const words: string[] = [];
  if (busy + held + idle > 0) {
    const kept = trans._n(
      '%1 held by an idle session',
      '%1 held by idle sessions',
      held,
      count(held, trans)
    );
    const parts = [trans.__('%1 busy', count(busy, trans)), held > 0 ? kept : ''];
    parts.push(trans.__('%1 idle', count(idle, trans)));
    words.push(trans.__('workers: %1', parts.filter(Boolean).join(', ')));
  }
  if (starting > 0) {
    words.push(trans.__('%1 starting', count(starting, trans)));
  }
  return words;
}

/** What each image has, where there is more than the plain environment. */
export function imageWords(item: IEndpointInfo, trans: TranslationBundle): string[] {
  const images = isRecord(item.info.images) ? item.info.images : {};
  const names = Object.keys(images);
  if (names.length === 0 || (names.length === 1 && names[0] === 'host')) {
    return [];
  }
  return names.slice(0, 20).map(name => {
    const found = images[name];
    const of = isRecord(found) ? found : {};
    const told = [
      number(of.warm) > 0 ? trans.__('%1 warm', count(number(of.warm), trans)) : '',
      number(of.busy) > 0 ? trans.__('%1 busy', count(number(of.busy), trans)) : '',
      number(of.held) > 0 ? trans.__('%1 held', count(number(of.held), trans)) : '',
      number(of.idle) > 0 ? trans.__('%1 idle', count(number(of.idle), trans)) : '',
      number(of.starting) > 0 ? trans.__('%1 starting', count(number(of.starting), trans)) : ''
    ];
    const title = name === 'host' ? trans.__('no image') : word(name);
    return `${title}: ${told.filter(Boolean).join(', ') || trans.__('nothing yet')}`;
  });
}
