/** Lines: what a task printed, as a terminal without a cursor would show it, within bounds. */

import { bare, IStyle, pieces } from './ansi';

/** Lines that are kept: of more, the first are forgotten (the whole log can be downloaded). */
export const KEPT = 20_000;
/** Characters of one line; what is longer is cut. */
export const WIDTH = 4_000;

export interface ILine {
  /** With its escape sequences. */
  readonly text: string;
  /** The style that it begins with. */
  readonly style: IStyle;
  readonly error: boolean;
}

interface IOpenLine {
  text: string;
  style: IStyle;
  error: boolean;
}

export class Lines {
  /** Number of the first line that is kept, counted from 0. */
  first = 0;
  /** Lines that were dropped on the way here, as far as is known. */
  dropped = 0;
  private _lines: IOpenLine[] = [];
  private _open = false;
  private _return = false;

  /** All lines that are kept; the last may go on. */
  get all(): readonly ILine[] {
    return this._lines;
  }

  get count(): number {
    return this._lines.length;
  }

  /** Take printed text. A carriage return begins the line anew, as progress bars do. */
  append(text: string, error: boolean): void {
    for (const part of text.split(/(\r\n|\n|\r)/)) {
      if (part === '\n' || part === '\r\n') {
        this._end(error);
      } else if (part === '\r') {
        this._return = true;
      } else if (part !== '') {
        this._write(part, error);
      }
    }
    if (this._lines.length > KEPT + KEPT / 10) {
      const over = this._lines.length - KEPT;
      this._lines.splice(0, over);
      this.first += over;
    }
  }

  /** A line of ours between theirs, in these words: how much is missing. */
  gap(count: number, words: string): void {
    this.dropped += count;
    this._end(false);
    this._lines.push({ text: words, style: { italic: true, dim: true }, error: false });
    this._open = false;
  }

  clear(): void {
    this._lines = [];
    this.first = this.dropped = 0;
    this._open = this._return = false;
  }

  private _write(text: string, error: boolean): void {
    const last = this._lines[this._lines.length - 1];
    if (!this._open || last === undefined) {
      this._lines.push({ text: text.slice(0, WIDTH), style: this._after(last), error });
      this._open = true;
    } else if (this._return) {
      last.text = text.slice(0, WIDTH);
    } else if (last.text.length < WIDTH) {
      last.text = (last.text + text).slice(0, WIDTH);
    }
    this._return = false;
  }

  private _end(error: boolean): void {
    if (!this._open) {
      this._lines.push({
        text: '',
        style: this._after(this._lines[this._lines.length - 1]),
        error
      });
    }
    this._open = this._return = false;
  }

  private _after(line: ILine | undefined): IStyle {
    // Most lines carry no colour at all: nothing to work out.
    return line === undefined || !line.text.includes('\u001b')
      ? (line?.style ?? {})
      : pieces(line.text, line.style)[1];
  }

  /** Numbers (from 0, of those kept) of the lines that hold the words, at most `limit`, and how many there are. */
  search(words: string, limit: number): [number[], number] {
    const wanted = words.toLowerCase();
    const found: number[] = [];
    let count = 0;
    this._lines.forEach((line, index) => {
      if (bare(line.text).toLowerCase().includes(wanted)) {
        count += 1;
        if (found.length < limit) {
          found.push(index);
        }
      }
    });
    return [found, count];
  }
}
