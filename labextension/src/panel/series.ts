/** What was lately: values with their times, and rates of a count. */

/** Seconds that are shown. */
export const WINDOW = 600;
const MOST = 300;

export type Point = readonly [seconds: number, value: number];

export class Series {
  private _points: Point[] = [];

  get points(): readonly Point[] {
    return this._points;
  }

  get last(): number {
    return this._points.at(-1)?.[1] ?? 0;
  }

  get some(): boolean {
    return this._points.some(([, value]) => value > 0);
  }

  /** One more value; one of the same time takes the place of that. */
  push(time: number, value: number): void {
    const before = this._points.at(-1)?.[0] ?? -Infinity;
    const kept = this._points.filter(([at]) => at > time - WINDOW);
    this._points = [...(time <= before ? kept.slice(0, -1) : kept), [time, value] as const].slice(
      -MOST
    );
  }
}

/** How fast a count grows. */
export class Rate {
  readonly series = new Series();
  private _before: Point | null = null;

  /** The count at this time. One that has become less began anew. */
  push(time: number, count: number): void {
    if (this._before !== null) {
      const [at, was] = this._before;
      if (time - at < 0.5) {
        return;
      }
      this.series.push(time, Math.max(0, count - was) / (time - at));
    }
    this._before = [time, count];
  }
}
