/** A line of the last ten minutes: no axes, only whether it grows. */

import { Point, WINDOW } from './series';

const [WIDTH, HEIGHT] = [64, 14];
const SVG = 'http://www.w3.org/2000/svg';

/** The corners of the line, as SVG writes them: time to the right, the newest at its end. */
export function corners(points: readonly Point[], now: number): string {
  const most = Math.max(1e-9, ...points.map(([, value]) => value));
  return points
    .map(([at, value]) => {
      const x = WIDTH * Math.max(0, 1 - (now - at) / WINDOW);
      return `${x.toFixed(1)},${(HEIGHT - 1 - (value / most) * (HEIGHT - 2)).toFixed(1)}`;
    })
    .join(' ');
}

export class Spark {
  readonly node: SVGSVGElement;
  private readonly _line: SVGPolylineElement;

  constructor() {
    this.node = document.createElementNS(SVG, 'svg');
    this.node.setAttribute('class', 'fx-spark');
    this.node.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.node.setAttribute('aria-hidden', 'true');
    this._line = document.createElementNS(SVG, 'polyline');
    this.node.append(this._line);
  }

  draw(points: readonly Point[], now: number): void {
    this._line.setAttribute('points', corners(points, now));
  }
}
