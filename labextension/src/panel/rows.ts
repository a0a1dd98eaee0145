/** A list whose rows are kept while their items change: focus, scrolling and open logs stay where they are. */

export interface IRow<T> {
  readonly node: HTMLElement;
  update(item: T): void;
  dispose?(): void;
}

export class Rows<T> {
  private readonly _rows = new Map<string, IRow<T>>();

  constructor(
    private readonly _list: HTMLElement,
    private readonly _key: (item: T) => string,
    private readonly _make: (item: T) => IRow<T>
  ) {}

  /** Show these items, in this order. */
  update(items: readonly T[]): void {
    const wanted = new Set(items.map(this._key));
    for (const [key, row] of this._rows) {
      if (!wanted.has(key)) {
        row.dispose?.();
        row.node.remove();
        this._rows.delete(key);
      }
    }
    let before: Element | null = this._list.firstElementChild;
    for (const item of items) {
      const key = this._key(item);
      let row = this._rows.get(key);
      if (row === undefined) {
        row = this._make(item);
        this._rows.set(key, row);
      }
      row.update(item);
      if (row.node === before) {
        before = before.nextElementSibling;
      } else {
        this._list.insertBefore(row.node, before);
      }
    }
  }

  dispose(): void {
    this.update([]);
  }
}
