/** What is told of a card whose task has ended, to whoever looks elsewhere. */

import { Card } from '../types/card';
import { INotice } from '../tokens';

export function noticeOf(card: Card): INotice {
  return {
    tasks: [card.task_id, ...(card.map?.tasks ?? [])],
    count: 1,
    name: card.name ?? '',
    endpoint: card.endpoint ?? '',
    state: card.state,
    failed: ['succeeded', 'cancelled'].includes(card.state) ? 0 : 1,
    elapsed: card.elapsed,
    kernelId: ''
  };
}
