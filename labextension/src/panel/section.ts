/** A list of the panel with its heading. It draws the first of many, and more on demand. */

import { TranslationBundle } from '@jupyterlab/translation';

import { button, make, say } from '../dom';
import { count } from '../format';
import { IRow, Rows } from './rows';

/** Rows that are drawn at first, and more at each click: drawing all of many makes typing stutter. */
const FIRST = 50;

export class Section<T> {
  readonly extra = make('span', { class: 'fx-actions' });
  readonly node: HTMLElement;
  private readonly _list = make('ul', { class: 'fx-list' });
  private readonly _empty = make('p', { class: 'fx-empty' });
  private readonly _count = make('span', { class: 'fx-faint' });
  private readonly _more: HTMLButtonElement;
  private readonly _rows: Rows<T>;
  private _most = FIRST;
  private _items: readonly T[] = [];

  constructor(
    private readonly _trans: TranslationBundle,
    title: string,
    key: (item: T) => string,
    row: (item: T) => IRow<T>
  ) {
    const heading = make('h3', { text: title });
    const head = make('div', { class: 'fx-section-head' }, heading, this._count, this.extra);
    this._more = button('', () => this._showMore(), { class: 'fx-link', hidden: true });
    this._rows = new Rows(this._list, key, row);
    this.node = make(
      'section',
      { class: 'fx-section', label: title },
      head,
      this._empty,
      this._list,
      this._more
    );
  }

  /** Show these; `empty` says what to do when there are none. */
  update(items: readonly T[], empty: string): void {
    this._items = items;
    say(this._count, items.length > 0 ? count(items.length, this._trans) : '');
    say(this._empty, items.length > 0 ? '' : empty);
    this._empty.hidden = items.length > 0;
    this._rows.update(items.slice(0, this._most));
    const rest = items.length - this._most;
    this._more.hidden = rest <= 0;
    say(this._more, this._trans.__('Show more (%1)', count(Math.max(0, rest), this._trans)));
  }

  /** Draw again what is shown: time has passed. */
  refresh(): void {
    this._rows.update(this._items.slice(0, this._most));
  }

  private _showMore(): void {
    this._most += FIRST * 4;
    this.update(this._items, '');
  }
}
