/** The renderer of a card, made anew by JupyterLab when it likes: what a page has seen outlives it. */

jest.mock('@jupyterlab/apputils', () => ({ Clipboard: {} }));
// A DOM without a browser has no DragEvent.
jest.mock('@lumino/dragdrop', () => ({ Drag: class {} }));

import { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { Widget } from '@lumino/widgets';

import { CardRenderer, ICardServices } from '../src/card/renderer';
import { MIME } from '../src/card/read';
import { english as trans } from '../src/english';
import { Live } from '../src/live';
import { Tasks } from '../src/tasks';
import { Card } from '../src/types/card';

const running: Card = {
  version: 1,
  kind: 'cell',
  task_id: 'a'.repeat(32),
  state: 'running',
  submitted: 100,
  as_of: Date.now() / 1000,
  elapsed: 0.5,
  notify: 1
};
const over: Card = { ...running, state: 'succeeded', elapsed: 1.3 };

const told: Card[] = [];
let fed = true;

function services(): ICardServices {
  const socket = { readyState: 0, send: () => undefined, close: () => undefined };
  return {
    tasks: new Tasks(new Live(() => socket as unknown as WebSocket), trans),
    requests: {} as ICardServices['requests'],
    where: () => ({ fed, readOnly: false }),
    keep: { saw: () => undefined, quietly: () => undefined },
    trans,
    announce: card => told.push(card)
  };
}

/** One renderer's life, from its first card to its last. */
function shown(by: ICardServices, ...cards: Card[]): void {
  const renderer = new CardRenderer(by);
  cards.forEach((card, at) => {
    const data = { [MIME]: JSON.parse(JSON.stringify(card)) as ReadonlyPartialJSONObject };
    void renderer.renderModel({ trusted: true, data, metadata: {}, setData: () => undefined });
    if (at === 0) {
      Widget.attach(renderer, document.body);
    }
  });
  renderer.dispose();
}

beforeEach(() => {
  told.length = 0;
  fed = true;
});

test('the end is told by the renderer that saw it run', () => {
  shown(services(), running, over);
  expect(told.map(card => card.elapsed.toFixed(1))).toEqual(['1.3']);
});

test('the end is told when the kernel tells it first, to a renderer made anew for it', () => {
  const by = services();
  shown(by, running);
  shown(by, over);
  expect(told.map(card => card.elapsed.toFixed(1))).toEqual(['1.3']);
});

test('an end that this page did not see coming is no news', () => {
  shown(services(), over);
  const by = services();
  shown(by, running);
  // Another notebook's cell, or this one's after it was opened anew.
  fed = false;
  shown(by, over);
  expect(told).toEqual([]);
});

test('what was seen to run is remembered within bounds', () => {
  const { tasks } = services();
  for (let n = 0; n < 1200; n += 1) {
    tasks.sawRun(String(n));
  }
  expect([tasks.ran('199'), tasks.ran('200'), tasks.ran('1199')]).toEqual([false, true, true]);
});
