/** SGR colours of terminals as styled pieces of text. All other escape sequences are left out. */

export interface IStyle {
  readonly fg?: string;
  readonly bg?: string;
  readonly bold?: boolean;
  readonly dim?: boolean;
  readonly italic?: boolean;
  readonly underline?: boolean;
  readonly inverse?: boolean;
}

export interface IPiece {
  readonly text: string;
  readonly style: IStyle;
}

const NAMES = ['black', 'red', 'green', 'yellow', 'blue', 'magenta', 'cyan', 'white'];
/** Any escape sequence: CSI, OSC (to BEL or ST), two-character ones; an unfinished one at the end too. */

const ESCAPE =
  /\u001b(?:\[([0-9;:?<=>]*)[ -/]*([@-~])?|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_]?)/g;
const PLAIN: IStyle = {};

/** A palette name (`red`, `bright-red`) or `rgb(r,g,b)`, and how many codes it took. */
function colour(codes: readonly number[], at: number): [string | undefined, number] {
  if (codes[at + 1] === 5) {
    return [indexed(codes[at + 2] ?? 0), 2];
  }
  if (codes[at + 1] === 2) {
    return [rgb(codes[at + 2] ?? 0, codes[at + 3] ?? 0, codes[at + 4] ?? 0), 4];
  }
  return [undefined, 0];
}

function rgb(...parts: number[]): string {
  return `rgb(${parts.map(part => Math.min(255, Math.max(0, part))).join(',')})`;
}

function indexed(index: number): string | undefined {
  if (index < 16) {
    const name = NAMES[index % 8];
    return name === undefined ? undefined : index < 8 ? name : `bright-${name}`;
  }
  if (index < 232) {
    const level = (part: number): number => (part === 0 ? 0 : 55 + part * 40);
    const cube = index - 16;
    return rgb(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6));
  }
  return index < 256 ? rgb(...Array<number>(3).fill(8 + (index - 232) * 10)) : undefined;
}

/** The style after an SGR sequence. */
export function styled(before: IStyle, parameters: string): IStyle {
  const codes = parameters.split(/[;:]/).map(code => (code === '' ? 0 : Number.parseInt(code, 10)));
  let style: { -readonly [K in keyof IStyle]: IStyle[K] } = { ...before };
  for (let at = 0; at < codes.length; at++) {
    const code = codes[at] ?? 0;
    if (code === 0) {
      style = {};
    } else if (code === 1) {
      style.bold = true;
    } else if (code === 2) {
      style.dim = true;
    } else if (code === 3) {
      style.italic = true;
    } else if (code === 4) {
      style.underline = true;
    } else if (code === 7) {
      style.inverse = true;
    } else if (code === 22) {
      delete style.bold;
      delete style.dim;
    } else if (code === 23) {
      delete style.italic;
    } else if (code === 24) {
      delete style.underline;
    } else if (code === 27) {
      delete style.inverse;
    } else if (code === 39) {
      delete style.fg;
    } else if (code === 49) {
      delete style.bg;
    } else {
      at += paint(style, codes, at);
    }
  }
  return style;
}

function paint(style: { fg?: string; bg?: string }, codes: readonly number[], at: number): number {
  const code = codes[at] ?? 0;
  const [base, key] = [Math.floor(code / 10), code % 10];
  if (code === 38 || code === 48) {
    const [found, used] = colour(codes, at);
    if (found !== undefined) {
      style[code === 38 ? 'fg' : 'bg'] = found;
    }
    return used;
  }
  const name = NAMES[key];
  if (name !== undefined) {
    if (base === 3 || base === 9) {
      style.fg = base === 3 ? name : `bright-${name}`;
    } else if (base === 4 || base === 10) {
      style.bg = base === 4 ? name : `bright-${name}`;
    }
  }
  return 0;
}

/** The pieces of one line, and the style that the next line begins with. */
export function pieces(line: string, before: IStyle = PLAIN): [IPiece[], IStyle] {
  const found: IPiece[] = [];
  let style = before;
  let from = 0;
  for (const match of line.matchAll(ESCAPE)) {
    if (match.index > from) {
      found.push({ text: line.slice(from, match.index), style });
    }
    from = match.index + match[0].length;
    if (match[2] === 'm') {
      style = styled(style, match[1] ?? '');
    }
  }
  if (from < line.length) {
    found.push({ text: line.slice(from), style });
  }
  return [found, style];
}

/** The line without any escape sequence. */
export function bare(line: string): string {
  return line.replace(ESCAPE, '');
}
