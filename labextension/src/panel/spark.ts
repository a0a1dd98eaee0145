/** A line of what was lately: no axes, no numbers, only whether it grows. */

const POINTS = 60;
const [WIDTH, HEIGHT] = [64, 14];
const SVG = 'http://www.w3.org/2000/svg';

export class Spark {
  readonly node: SVGSVGElement;
  private readonly _line: SVGPolylineElement;
  private readonly _values: number[] = [];

  constructor() {
    this.node = document.createElementNS(SVG, 'svg');
    this.node.setAttribute('class', 'fx-spark');
    this.node.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.node.setAttribute('aria-hidden', 'true');
    this._line = document.createElementNS(SVG, 'polyline');
    this.node.append(this._line);
  }

  /** One more value. */
  push(value: number): void {
    this._values.push(value);
    this._values.splice(0, this._values.length - POINTS);
    const most = Math.max(1, ...this._values);
    const step = WIDTH / (POINTS - 1);
    const from = POINTS - this._values.length;
    const points = this._values.map((found, index) => {
      const y = HEIGHT - 1 - (found / most) * (HEIGHT - 2);
      return `${((from + index) * step).toFixed(1)},${y.toFixed(1)}`;
    });
    this._line.setAttribute('points', points.join(' '));
    this.node.style.visibility = this._values.some(found => found > 0) ? '' : 'hidden';
  }
}
