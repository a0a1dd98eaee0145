/** What a task printed: its last lines first, the earlier ones on demand, searched, coloured, downloaded. */

import { TranslationBundle } from '@jupyterlab/translation';

import { bare, IPiece, pieces } from '../ansi';
import { button, make, say } from '../dom';
import { count, plain } from '../format';
import { ILine, Lines } from '../lines';

const AT_FIRST = 200;
const MORE = 1000;
const FOUND = 500;
/** Milliseconds between two drawings. */
const PACE = 100;

export class LogPane {
  readonly node: HTMLElement;
  private readonly _rows: HTMLElement;
  private readonly _earlier: HTMLButtonElement;
  private readonly _counted: HTMLElement;
  private readonly _words: HTMLInputElement;
  private readonly _empty: HTMLElement;
  private _lines = new Lines();
  private _most = AT_FIRST;
  /** Numbers of the lines that are drawn: [from, to). */
  private _drawn: [number, number] = [0, 0];
  private _timer = 0;

  constructor(
    private readonly _trans: TranslationBundle,
    download: () => void
  ) {
    this._words = make('input', { class: 'fx-search', label: _trans.__('Search the output') });
    this._words.type = 'search';
    this._words.placeholder = _trans.__('Search');
    this._words.addEventListener('input', () => this._draw(true));
    this._words.addEventListener('keydown', event => event.stopPropagation());
    this._counted = make('span', { class: 'fx-faint', role: 'status' });
    const save = button(_trans.__('Download'), download, {
      title: _trans.__('Download the whole log')
    });
    this._earlier = button('', () => this._showMore(), { class: 'fx-link', hidden: true });
    this._rows = make('div', {
      class: 'fx-rows',
      role: 'log',
      label: _trans.__('Output of the task')
    });
    this._rows.tabIndex = 0;
    this._rows.setAttribute('aria-live', 'off');
    this._empty = make('div', { class: 'fx-faint' });
    this.node = make(
      'div',
      { class: 'fx-log' },
      make('div', { class: 'fx-log-bar' }, this._words, this._counted, save),
      this._earlier,
      this._empty,
      this._rows
    );
  }

  /** Draw what was printed, soon. `note` stands there while there is nothing. */
  update(lines: Lines, note: string): void {
    const other = lines !== this._lines;
    this._lines = lines;
    say(this._empty, lines.count === 0 ? note : '');
    this._empty.hidden = lines.count > 0;
    if (other) {
      this._draw(true);
    } else if (this._timer === 0) {
      this._timer = window.setTimeout(() => this._draw(false), PACE);
    }
  }

  dispose(): void {
    window.clearTimeout(this._timer);
  }

  private _showMore(): void {
    const before = this._rows.scrollHeight;
    this._most += MORE;
    this._draw(true);
    this._rows.scrollTop += this._rows.scrollHeight - before;
  }

  private _draw(anew: boolean): void {
    window.clearTimeout(this._timer);
    this._timer = 0;
    const words = this._words.value.trim();
    if (words !== '') {
      this._drawFound(words);
      return;
    }
    const lines = this._lines;
    const to = lines.first + lines.count;
    const from = Math.max(lines.first, to - this._most);
    const atEnd = this._rows.scrollHeight - this._rows.scrollTop - this._rows.clientHeight < 30;
    const [was, until] = this._drawn;
    if (anew || from < was || until > to || until <= from) {
      this._rows.textContent = '';
      this._append(from, to);
    } else {
      for (let at = was; at < from; at++) {
        this._rows.firstChild?.remove();
      }
      // The last line may have gone on.
      this._rows.lastChild?.remove();
      this._append(Math.max(from, until - 1), to);
    }
    this._drawn = [from, to];
    const hidden = from - lines.first;
    this._earlier.hidden = hidden === 0;
    say(this._earlier, this._trans.__('Show earlier lines (%1 more)', count(hidden, this._trans)));
    const all = to + lines.dropped;
    say(
      this._counted,
      all > 0 ? this._trans._n('%2 line', '%2 lines', all, count(all, this._trans)) : ''
    );
    if (atEnd || anew) {
      this._rows.scrollTop = this._rows.scrollHeight;
    }
  }

  private _append(from: number, to: number): void {
    const made = document.createDocumentFragment();
    for (let at = from; at < to; at++) {
      const line = this._lines.all[at - this._lines.first];
      if (line !== undefined) {
        made.append(row(line));
      }
    }
    this._rows.append(made);
  }

  private _drawFound(words: string): void {
    const [found, total] = this._lines.search(words, FOUND);
    this._rows.textContent = '';
    const made = document.createDocumentFragment();
    for (const at of found) {
      const line = this._lines.all[at];
      if (line !== undefined) {
        made.append(marked(line, words, this._lines.first + at + 1));
      }
    }
    this._rows.append(made);
    this._drawn = [0, 0];
    this._earlier.hidden = true;
    const all = count(this._lines.count, this._trans);
    say(this._counted, this._trans.__('%1 of %2 lines', count(total, this._trans), all));
  }
}

const STYLES = ['bold', 'dim', 'italic', 'underline', 'inverse'] as const;

/** A piece of text in its colours: names of our palette are classes, others are numbers that we worked out. */
export function span(piece: IPiece): HTMLElement {
  const { style } = piece;
  const names = STYLES.filter(name => style[name] === true).map(name => `fx-${name}`);
  const made = make('span', { text: piece.text });
  for (const [kind, colour] of [
    ['fg', style.fg],
    ['bg', style.bg]
  ] as const) {
    if (colour?.startsWith('rgb') === true) {
      made.style[kind === 'fg' ? 'color' : 'backgroundColor'] = colour;
    } else if (colour !== undefined) {
      names.push(`fx-${kind}-${colour}`);
    }
  }
  made.className = names.join(' ');
  return made;
}

export function row(line: ILine): HTMLElement {
  const made = make('div', { class: line.error ? 'fx-row fx-stderr' : 'fx-row' });
  if (line.text.includes('\u001b') || Object.keys(line.style).length > 0) {
    made.append(...pieces(line.text, line.style)[0].map(span));
  } else {
    made.textContent = plain(line.text);
  }
  return made;
}

function marked(line: ILine, words: string, number: number): HTMLElement {
  const text = plain(bare(line.text));
  const lower = text.toLowerCase();
  const made = make(
    'div',
    { class: 'fx-row' },
    make('span', { class: 'fx-number', text: String(number) })
  );
  let from = 0;
  for (
    let at = lower.indexOf(words.toLowerCase());
    at >= 0;
    at = lower.indexOf(words.toLowerCase(), from)
  ) {
    made.append(text.slice(from, at), make('mark', { text: text.slice(at, at + words.length) }));
    from = at + words.length;
  }
  made.append(text.slice(from));
  return made;
}
