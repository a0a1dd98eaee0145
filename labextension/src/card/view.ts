/** Draws a card. It knows nothing of where the card comes from, nor of what its buttons do. */

import { TranslationBundle } from '@jupyterlab/translation';

import { button, make, say } from '../dom';
import { amount, clock, duration } from '../format';
import { Lines } from '../lines';
import { Bar, Card } from '../types/card';
import { row } from './logpane';
import { ended } from './read';
import { barWords, mapWords, mark, stateWords, timesWords, title } from './words';

/** The id of a map's own bar, which no task can have given. */
const MAP = '\u0000';

/** Seconds for which the time that a card shows may stand: each drawing of it is a frame of the whole page. */
export const beat = (elapsed: number): number => (elapsed < 10 ? 1 : 2);

/** What the card cannot say of itself. */
export interface ISituation {
  /** Seconds to show; those of a card that nobody moves on stand still. */
  readonly elapsed: number;
  /** Whether what is shown is how it is now; else it is as of `card.as_of`. */
  readonly current: boolean;
  /** A sentence about the way to the hub; empty when all is well. */
  readonly trouble: string;
  /** Whether it may be asked for by a click. */
  readonly offer: 'none' | 'look';
  readonly cancel: 'none' | 'cancel' | 'kill';
  readonly cancelling: boolean;
  readonly log: 'none' | 'closed' | 'open';
}

export interface IActions {
  cancel(): void;
  kill(): void;
  log(): void;
  look(): void;
  copy(): void;
}

export class CardView {
  readonly node: HTMLElement;
  private readonly _mark = make('span', { class: 'fx-mark' });
  private readonly _title = make('span', { class: 'fx-title' });
  private readonly _state = make('span', { class: 'fx-state', role: 'status' });
  private readonly _elapsed = make('span', { class: 'fx-elapsed' });
  private readonly _said = make('span', { class: 'fx-said' });
  private readonly _why = make('div', { class: 'fx-why' });
  private readonly _trouble = make('div', { class: 'fx-trouble', role: 'status' });
  private readonly _bars = make('div', { class: 'fx-bars' });
  private readonly _notices = make('div', { class: 'fx-notices' });
  private readonly _error = make('div', { class: 'fx-error' });
  private readonly _told = make('pre');
  private readonly _fold: HTMLDetailsElement;
  private readonly _failures = make('ol', { class: 'fx-failures' });
  private readonly _more = make('dl', { class: 'fx-more', hidden: true });
  private readonly _tail = make('pre', { class: 'fx-tail' });
  private readonly _cancel: HTMLButtonElement;
  private readonly _kill: HTMLButtonElement;
  private readonly _log: HTMLButtonElement;
  private readonly _look: HTMLButtonElement;
  private readonly _details: HTMLButtonElement;
  private _drawnTail = '';

  constructor(
    private readonly _trans: TranslationBundle,
    actions: IActions,
    pane: HTMLElement
  ) {
    this._mark.setAttribute('aria-hidden', 'true');
    this._cancel = button(_trans.__('Cancel'), () => actions.cancel(), { class: 'fx-cancel' });
    this._kill = button('', () => actions.kill(), { class: 'fx-kill' });
    this._log = button(_trans.__('Output'), () => actions.log(), { class: 'fx-open-log' });
    this._look = button(_trans.__('Ask the hub'), () => actions.look(), {
      class: 'fx-look',
      title: _trans.__('This notebook may come from elsewhere: nothing is sent before you click')
    });
    this._details = button('', () => this._toggle(), {
      class: 'fx-details',
      label: _trans.__('Details')
    });
    this._details.setAttribute('aria-expanded', 'false');
    this._copy = () => actions.copy();
    const head = make('div', { class: 'fx-head' },
      this._mark,
      // For those who copy or read the text alone; in the row itself it takes no room.
      document.createTextNode(' '),
      make('span', { class: 'fx-line' }, this._title, this._state, this._elapsed, this._said),
      make('span', { class: 'fx-actions' }, this._look, this._log, this._cancel, this._kill, this._details)
    ); // prettier-ignore
    this._fold = make('details', { class: 'fx-fold' },
      make('summary', { text: _trans.__('Details') }),
      this._told
    ); // prettier-ignore
    this.node = make('div', { class: 'fx-card', role: 'group', label: _trans.__('Remote task') },
      head, this._why, this._trouble, this._bars, this._error, this._fold, this._failures, this._notices, this._more, this._tail, pane
    ); // prettier-ignore
  }

  private readonly _copy: () => void;

  update(card: Card, situation: ISituation): void {
    const trans = this._trans;
    const over = ended(card.state);
    const quiet = card.state === 'succeeded';
    this.node.dataset.state = card.unreachable === true ? 'unreachable' : card.state;
    this.node.dataset.task = card.task_id;
    this.node.classList.toggle('fx-quiet', quiet);
    this.node.classList.toggle('fx-living', !over && situation.current);
    const beats = Math.floor(situation.elapsed / beat(situation.elapsed));
    this.node.classList.toggle('fx-beat', beats % 2 === 1);
    say(this._mark, mark(card));
    say(this._title, title(card, trans));
    say(this._state, stateWords(card, trans));
    say(this._elapsed, duration(situation.elapsed, trans));
    const stands = situation.current || over ? '' : this._asOf(card);
    const said = [stands, mapWords(card, trans), card.note, card.ended];
    say(this._said, said.filter(Boolean).join(' · '));
    this._text(this._why, card.why);
    this._text(this._trouble, situation.trouble);
    this._drawBars(over && card.state === 'succeeded' ? [] : barsOf(card));
    this._text(this._error, card.error ? `${card.error.type}: ${card.error.message}` : '');
    say(this._told, card.details ?? '');
    this._fold.hidden = !card.details;
    this._drawFailures(card);
    this._drawNotices(card.notices ?? []);
    this._drawMore(card);
    this._drawTail(card, situation);
    this._buttons(card, situation);
  }

  private _asOf(card: Card): string {
    return this._trans.__('as of %1', clock(card.as_of, Date.now() / 1000));
  }

  private _buttons(card: Card, situation: ISituation): void {
    this._look.hidden = situation.offer !== 'look';
    this._cancel.hidden = situation.cancel === 'none';
    this._cancel.disabled = situation.cancelling;
    say(
      this._cancel,
      situation.cancelling
        ? this._trans.__('Cancelling …')
        : card.kind === 'map'
          ? this._trans.__('Cancel all')
          : this._trans.__('Cancel')
    );
    this._kill.hidden = situation.cancel !== 'kill';
    const lost = card.session?.variables;
    const loses = lost
      ? this._trans._n(' (loses %1 variable)', ' (loses %1 variables)', lost, lost)
      : '';
    say(this._kill, this._trans.__('Kill the session') + loses);
    this._log.hidden = situation.log === 'none';
    this._log.setAttribute('aria-expanded', String(situation.log === 'open'));
  }

  private _text(node: HTMLElement, text: string | undefined): void {
    say(node, text ?? '');
    node.hidden = !text;
  }

  private _toggle(): void {
    this._more.hidden = !this._more.hidden;
    this._details.setAttribute('aria-expanded', String(!this._more.hidden));
  }

  private _drawBars(bars: readonly Bar[]): void {
    while (this._bars.childElementCount > bars.length) {
      this._bars.lastElementChild?.remove();
    }
    bars.forEach((bar, index) => {
      let row = this._bars.children[index] as HTMLElement | undefined;
      if (row === undefined) {
        const track = make(
          'div',
          { class: 'fx-track', role: 'progressbar' },
          make('div', { class: 'fx-fill' })
        );
        row = make('div', { class: 'fx-bar' }, track, make('span', { class: 'fx-faint' }));
        this._bars.append(row);
      }
      const [track, words] = [row.children[0] as HTMLElement, row.children[1] as HTMLElement];
      const told = barWords(bar, this._trans);
      say(words, bar.id === MAP ? '' : told);
      const share = bar.total ? Math.min(1, Math.max(0, bar.done / bar.total)) : null;
      track.classList.toggle('fx-unknown', share === null);
      (track.children[0] as HTMLElement).style.width =
        share === null ? '' : `${(share * 100).toFixed(2)}%`;
      track.setAttribute('aria-label', told);
      if (share === null) {
        track.removeAttribute('aria-valuenow');
      } else {
        track.setAttribute('aria-valuenow', String(Math.round(share * 100)));
      }
    });
    this._bars.hidden = bars.length === 0;
  }

  private _drawNotices(notices: readonly string[]): void {
    if (this._notices.childElementCount !== notices.length) {
      this._notices.replaceChildren(...notices.map(() => make('div')));
    }
    notices.forEach((notice, index) => say(this._notices.children[index] as HTMLElement, notice));
    this._notices.hidden = notices.length === 0;
  }

  private _drawFailures(card: Card): void {
    const failures = card.map?.failures ?? [];
    if (this._failures.childElementCount !== failures.length) {
      this._failures.replaceChildren(
        ...failures.map(({ index, input, error }) =>
          make(
            'li',
            {},
            make('code', { text: `[${index}] ${input}` }),
            make('span', { text: error })
          )
        )
      );
    }
    this._failures.hidden = failures.length === 0;
  }

  private _drawMore(card: Card): void {
    const usage = card.usage ?? {};
    const rows: [string, string][] = [
      [this._trans.__('Task'), card.task_id],
      [this._trans.__('Name'), card.name ?? ''],
      [this._trans.__('Session'), card.session?.name ?? ''],
      [this._trans.__('Time'), timesWords(card, this._trans)],
      [
        this._trans.__('Processor'),
        usage.cpu === undefined ? '' : duration(usage.cpu, this._trans)
      ],
      [
        this._trans.__('Node hours'),
        usage.node_hours === undefined ? '' : amount(usage.node_hours, this._trans)
      ]
    ];
    const shown = rows.filter(([, text]) => text !== '');
    const key = shown.map(([, text]) => text).join('\n');
    if (this._more.dataset.key !== key) {
      this._more.dataset.key = key;
      this._more.replaceChildren(
        ...shown.flatMap(([name, text]) => [make('dt', { text: name }), make('dd', { text })])
      );
      this._more.append(
        button(this._trans.__('Copy the task’s id'), this._copy, { class: 'fx-link' })
      );
    }
  }

  /** The snapshot's own last lines, where nothing better is shown. */
  private _drawTail(card: Card, situation: ISituation): void {
    const text = situation.log === 'open' ? '' : (card.tail ?? '');
    if (text !== this._drawnTail) {
      this._drawnTail = text;
      this._tail.replaceChildren(...tailRows(text));
    }
    this._tail.hidden = text === '';
  }
}

/** Its bars; a map that goes on has one of its own, whose words stand in its line. */
function barsOf(card: Card): readonly Bar[] {
  const { map, progress = [] } = card;
  if (map?.total == null || ended(card.state)) {
    return progress;
  }
  return [{ id: MAP, done: map.done, total: map.total }, ...progress];
}

function tailRows(text: string): HTMLElement[] {
  const lines = new Lines();
  lines.append(text, false);
  return lines.all.map(row);
}
