/** Forms: how values are typed and read, what is wrong with them, what is sent; and what charts are drawn from. */

import { english as trans } from '../src/english';
import { Field } from '../src/forms/field';
import { Settings } from '../src/forms/settings';
import { applies, choices, differing, read, written } from '../src/forms/values';
import { corners } from '../src/panel/spark';
import { Rate, Series, WINDOW } from '../src/panel/series';
import { IAgentForm, IFieldSchema } from '../src/forms/schema';

const of = (type: IFieldSchema['type'], more: Partial<IFieldSchema> = {}): IFieldSchema => ({
  title: 'T',
  description: '',
  default: null,
  type,
  ...more
});

describe('values', () => {
  test.each([
    [['a', 'b c'], of('array')],
    [{ A: '1', B: 'x=y' }, of('object')],
    [12, of('integer')],
    [1.5, of('number')],
    ['00:30:00', of('string')]
  ])('%j is read as it was written', (value, schema) => {
    expect(read(written(value), schema, trans)).toEqual({ value });
  });

  test.each([
    ['1.5', of('integer'), 'a whole number is needed'],
    ['many', of('number'), 'a number is needed'],
    ['-1', of('integer', { minimum: 0 }), 'it is 0 at least'],
    ['99', of('integer', { maximum: 9 }), 'it is 9 at most'],
    ['an hour', of('string', { pattern: '^\\d+:\\d\\d$', 'x-form': 'H:MM' }), 'it is written H:MM'],
    ['A=1\nB', of('object'), 'each line is NAME=VALUE']
  ])('%j is refused', (text, schema, problem) => {
    expect(read(text, schema, trans)).toEqual({ problem });
  });

  test('an empty number is what is so by itself', () => {
    expect(read(' ', of('integer', { default: 4 }), trans)).toEqual({ value: 4 });
  });

  test('only what was changed is sent', () => {
    const before = { Blocks: { a: 1, b: ['x'] }, Endpoint: { c: '' } };
    expect(differing({ Blocks: { a: 1, b: ['y'] }, Endpoint: { c: '' } }, before)).toEqual({
      Blocks: { b: ['y'] }
    });
  });

  test('settings of jobs are not asked for where there are none', () => {
    expect(applies('Blocks', 'partition', 'local')).toBe(false);
    expect(applies('Blocks', 'qos', 'torque')).toBe(false);
    expect(applies('Blocks', 'qos', 'slurm')).toBe(true);
    expect(applies('Blocks', 'walltime', '')).toBe(false);
    expect(applies('Endpoint', 'workers', '')).toBe(true);
  });

  test('an account is chosen where Slurm told which there are, else typed', () => {
    expect(choices('account', of('string'), null, trans)).toBeNull();
    expect(choices('account', of('string'), { accounts: ['lab'], partitions: [] }, trans)).toEqual([
      ['', 'the default one'],
      ['lab', 'lab']
    ]);
  });
});

describe('a form for Slurm', () => {
  const partition = (name: string, walltime: string, isDefault: boolean) => ({
    name,
    about: `about ${name}`,
    default: isDefault,
    accounts: [],
    fitting: { partition: name, walltime }
  });
  const form = (problem = ''): IAgentForm => ({
    schema: {
      properties: {
        Blocks: {
          properties: {
            provider: of('string', { enum: ['', 'slurm', 'local'], 'x-first': true }),
            partition: of('string', { 'x-first': true }),
            walltime: of('string', { 'x-first': true })
          }
        }
      }
    },
    values: { Blocks: { provider: '', partition: '', walltime: '01:00:00' } },
    fitting: { slurm: { walltime: '02:00:00' }, local: { walltime: '' } },
    slurm: {
      accounts: [],
      partitions: [partition('day', '08:00:00', true), partition('short', '00:10:00', false)]
    },
    problem
  });
  const at = (settings: Settings, index: number): Field => {
    const field = settings.fields[index];
    if (field === undefined) {
      throw new Error(`no field ${index}`);
    }
    return field;
  };
  const type = (settings: Settings, index: number, text: string): void => {
    const field = at(settings, index);
    field.text = text;
    field.input.dispatchEvent(
      new Event(field.input.tagName === 'SELECT' ? 'change' : 'input', { bubbles: true })
    );
  };

  test('a chosen partition brings what fits it, but not over what was typed', () => {
    const settings = new Settings(form(), trans, () => undefined);
    settings.begin('slurm');
    // Who only came by, or pressed a button, has typed nothing.
    at(settings, 2).input.dispatchEvent(new Event('blur'));
    at(settings, 2).touched = true;
    expect(settings.values()?.Blocks?.walltime).toBe('02:00:00');
    type(settings, 1, 'short');
    expect(settings.values()?.Blocks).toMatchObject({ partition: 'short', walltime: '00:10:00' });
    type(settings, 2, '00:05:00');
    type(settings, 1, 'day');
    expect(settings.values()?.Blocks).toMatchObject({ partition: 'day', walltime: '00:05:00' });
    settings.show();
    expect(at(settings, 1).node.textContent).toContain('about day');
  });

  test('why Slurm cannot be asked is said beside the provider while that is Slurm', () => {
    const settings = new Settings(form('Slurm does not answer'), trans, () => undefined);
    settings.show();
    expect(at(settings, 0).problem).toBe('');
    type(settings, 0, 'slurm');
    settings.show();
    expect(at(settings, 0).problem).toBe('Slurm does not answer');
    expect(at(settings, 0).input.getAttribute('aria-invalid')).toBe('true');
  });
});

describe('charts', () => {
  test('a rate is what a count grew by in a second, and never less than none', () => {
    const rate = new Rate();
    rate.push(0, 10);
    rate.push(2, 30);
    rate.push(2.1, 1000); // too soon to say
    expect(rate.series.last).toBe(10);
    rate.push(4, 0); // the hub began anew
    expect(rate.series.last).toBe(0);
  });

  test('what is older than the window is forgotten, and there is an end to how much is kept', () => {
    const series = new Series();
    series.push(0, 7);
    for (let at = 1; at < 1000; at += 1) {
      series.push(at + WINDOW, at);
    }
    expect(series.points.length).toBeLessThanOrEqual(300);
    expect(series.points.some(([, value]) => value === 7)).toBe(false);
    expect(
      corners(
        [
          [0, 0],
          [WINDOW, 5]
        ],
        WINDOW
      )
    ).toBe('0.0,13.0 64.0,1.0');
  });
});
