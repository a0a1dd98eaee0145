/** Values of a form's fields: how they are written, how they are read, what is wrong with them. No page in here. */

import { TranslationBundle } from '@jupyterlab/translation';

import { isRecord } from '../requests';
import { IFieldSchema, ISlurmPartition, Values } from './schema';

/** What was typed, understood or not. */
export type Read = { readonly value: unknown } | { readonly problem: string };

/** A value as it is typed: a list has a line for each part, names with values a line NAME=VALUE. */
export function written(value: unknown): string {
  if (Array.isArray(value)) {
    return value.map(String).join('\n');
  }
  if (isRecord(value)) {
    return Object.entries(value)
      .map(([name, one]) => `${name}=${String(one)}`)
      .join('\n');
  }
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** What a text means as a value of this kind. */
export function read(text: string, schema: IFieldSchema, trans: TranslationBundle): Read {
  const lines = text.split('\n').filter(line => line.trim() !== '');
  switch (schema.type) {
    case 'integer':
    case 'number':
      return readNumber(text.trim(), schema, trans);
    case 'array':
      return { value: lines };
    case 'object':
      return readPairs(lines, trans);
    case 'boolean':
      return { value: text === 'true' };
    case 'string':
      return readText(text.trim(), schema, trans);
  }
}

function readNumber(text: string, schema: IFieldSchema, trans: TranslationBundle): Read {
  const whole = schema.type === 'integer';
  if (text === '') {
    return { value: schema.default };
  }
  const value = Number(text);
  if (!Number.isFinite(value) || (whole && !Number.isInteger(value))) {
    return {
      problem: whole ? trans.__('a whole number is needed') : trans.__('a number is needed')
    };
  }
  if (schema.minimum !== undefined && value < schema.minimum) {
    return { problem: trans.__('it is %1 at least', schema.minimum) };
  }
  if (schema.maximum !== undefined && value > schema.maximum) {
    return { problem: trans.__('it is %1 at most', schema.maximum) };
  }
  return { value };
}

function readText(text: string, schema: IFieldSchema, trans: TranslationBundle): Read {
  if (schema.pattern !== undefined && !new RegExp(schema.pattern).test(text)) {
    return { problem: trans.__('it is written %1', schema['x-form'] ?? schema.pattern) };
  }
  return { value: text };
}

function readPairs(lines: readonly string[], trans: TranslationBundle): Read {
  const found: Record<string, string> = {};
  for (const line of lines) {
    const at = line.indexOf('=');
    if (at <= 0) {
      return { problem: trans.__('each line is NAME=VALUE') };
    }
    found[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return { value: found };
}

const FOR_JOBS = new Set([
  'partition',
  'account',
  'qos',
  'constraint',
  'reservation',
  'exclusive',
  'scheduler_options',
  'launcher',
  'poll_seconds'
]);
const FOR_SLURM = new Set(['qos', 'constraint', 'reservation']);

/** Whether a setting of blocks means anything with this provider. */
export function applies(section: string, name: string, provider: string): boolean {
  if (section !== 'Blocks' || name === 'provider') {
    return true;
  }
  if (provider === '') {
    return false;
  }
  if (provider === 'local') {
    return !FOR_JOBS.has(name);
  }
  return provider === 'slurm' || !FOR_SLURM.has(name);
}

/** What is chosen from in a field, with words for people; null: it is typed. */
export function choices(
  name: string,
  schema: IFieldSchema,
  slurm: { accounts: readonly string[]; partitions: readonly ISlurmPartition[] } | null,
  trans: TranslationBundle
): readonly (readonly [string, string])[] | null {
  if (schema.enum !== undefined) {
    const none =
      name === 'provider' ? trans.__('none: this machine runs the tasks') : trans.__('by itself');
    const here = (one: string): string =>
      name === 'provider' && one === 'local' ? trans.__('local: processes of this machine') : one;
    return schema.enum.map(one => [one, one === '' ? none : here(one)]);
  }
  if (slurm === null) {
    return null;
  }
  if (name === 'partition' && slurm.partitions.length > 0) {
    const names = slurm.partitions.map(one => [one.name, one.name] as const);
    return [['', trans.__('the default one')], ...names];
  }
  if (name === 'account' && slurm.accounts.length > 0) {
    return [['', trans.__('the default one')], ...slurm.accounts.map(one => [one, one] as const)];
  }
  return null;
}

/** What differs between two sets of values, by section. */
export function differing(now: Values, before: Values): Values {
  const found: Record<string, Record<string, unknown>> = {};
  for (const [section, settings] of Object.entries(now)) {
    for (const [name, value] of Object.entries(settings)) {
      if (JSON.stringify(value) !== JSON.stringify(before[section]?.[name])) {
        (found[section] ??= {})[name] = value;
      }
    }
  }
  return found;
}
