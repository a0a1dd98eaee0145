import { KEPT, Lines, WIDTH } from '../src/lines';

const texts = (lines: Lines): string[] => lines.all.map(line => line.text);

describe('lines', () => {
  it('are put together from pieces, wherever these end', () => {
    const lines = new Lines();
    for (const piece of ['a', 'b\nc', '\n\nd\r', '\ne']) {
      lines.append(piece, false);
    }
    expect(texts(lines)).toEqual(['ab', 'c', '', 'd', 'e']);
  });

  it('begin anew at a carriage return, as progress bars do', () => {
    const lines = new Lines();
    lines.append('10%\r20%\r', false);
    expect(texts(lines)).toEqual(['20%']);
    lines.append('30%\nnext', false);
    expect(texts(lines)).toEqual(['30%', 'next']);
  });

  it('hand their colour on', () => {
    const lines = new Lines();
    lines.append('\u001b[32ma\nb\u001b[0m\nc', false);
    expect(lines.all.map(line => line.style.fg)).toEqual([undefined, 'green', undefined]);
  });

  it('are bounded, and count what is forgotten', () => {
    const lines = new Lines();
    lines.append('x\n'.repeat(KEPT * 2), false);
    lines.append('y'.repeat(WIDTH * 2), false);
    expect(lines.count).toBeLessThanOrEqual(KEPT * 1.1);
    expect(lines.first + lines.count).toBe(KEPT * 2 + 1);
    expect(lines.all[lines.count - 1]?.text).toHaveLength(WIDTH);
  });

  it('are found by words, whatever their colour', () => {
    const lines = new Lines();
    lines.append('one\n\u001b[31mT\u001b[0mwo\nthree two\n', false);
    expect(lines.search('TWO', 1)).toEqual([[1], 2]);
  });
});
