import { bare, pieces, styled } from '../src/ansi';

describe('terminal colours', () => {
  it('become styles, and go on over the end of a line', () => {
    const [first, after] = pieces('a\u001b[1;31mb');
    expect(first).toEqual([
      { text: 'a', style: {} },
      { text: 'b', style: { bold: true, fg: 'red' } }
    ]);
    const [second] = pieces('c\u001b[0md', after);
    expect(second.map(piece => piece.style)).toEqual([{ bold: true, fg: 'red' }, {}]);
  });

  it.each([
    ['38;5;9', { fg: 'bright-red' }],
    ['48;5;16', { bg: 'rgb(0,0,0)' }],
    ['38;5;255', { fg: 'rgb(238,238,238)' }],
    ['38;2;1;2;300', { fg: 'rgb(1,2,255)' }],
    ['97;104', { fg: 'bright-white', bg: 'bright-blue' }],
    ['38', {}],
    ['38;5;999', {}]
  ])('know %s', (codes, style) => {
    expect(styled({}, codes)).toEqual(style);
  });

  it.each([
    ['moves of the cursor', 'a\u001b[2Kb\u001b[3Ac', 'abc'],
    ['titles of windows', 'a\u001b]0;evil\u0007b', 'ab'],
    ['links', 'a\u001b]8;;http://x\u001b\\b', 'ab'],
    ['what was cut off', 'a\u001b[31', 'a']
  ])('come without %s', (_what, text, shown) => {
    expect(bare(text)).toBe(shown);
  });
});
