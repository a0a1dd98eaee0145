/** The fields of a form, one for each setting of its schema. */

import { TranslationBundle } from '@jupyterlab/translation';

import { IAgentForm, IFieldSchema, ISlurmPartition, Values } from './schema';
import { Field } from './field';
import { applies, choices, read, written } from './values';

interface ISetting {
  readonly section: string;
  readonly name: string;
  readonly schema: IFieldSchema;
  readonly field: Field;
}

export class Settings {
  private readonly _all: ISetting[] = [];

  constructor(
    private readonly _form: IAgentForm,
    private readonly _trans: TranslationBundle,
    private readonly _typed: () => void
  ) {
    for (const [section, { properties }] of Object.entries(_form.schema.properties)) {
      for (const [name, schema] of Object.entries(properties)) {
        this._all.push(this._setting(section, name, schema));
      }
    }
  }

  get fields(): readonly Field[] {
    return this._all.map(one => one.field);
  }

  /** What is shown at once, or the rest. */
  nodes(first: boolean): HTMLElement[] {
    const those = this._all.filter(one => (one.schema['x-first'] === true) === first);
    return those.map(one => one.field.node);
  }

  /** Begin with this provider and what fits it. */
  begin(provider: string): void {
    this._set('Blocks', 'provider', provider);
    this._fit(this._form.fitting[provider]);
  }

  /** Show what applies, and what is wrong as far as it can be said here. */
  show(): void {
    const provider = this._provider;
    for (const one of this._all) {
      one.field.node.hidden = !applies(one.section, one.name, provider);
      const found = read(one.field.text, one.schema, this._trans);
      one.field.problem =
        one.field.touched && 'problem' in found
          ? found.problem
          : this._unasked(one.section, one.name);
    }
    const partition = this._of('Blocks', 'partition')?.field;
    const about = this._partition(partition?.text ?? '')?.about;
    if (partition !== undefined && about !== undefined && provider === 'slurm') {
      partition.help = about;
    }
  }

  /** The values of all fields that apply; null when one cannot be read. */
  values(): Values | null {
    const found: Record<string, Record<string, unknown>> = {};
    for (const { section, name, schema, field } of this._all) {
      if (applies(section, name, this._provider)) {
        const one = read(field.text, schema, this._trans);
        if ('problem' in one) {
          return null;
        }
        (found[section] ??= {})[name] = one.value;
      }
    }
    return found;
  }

  /** Put each sentence beside its field. */
  tell(problems: Readonly<Record<string, string>>): void {
    for (const { section, name, field } of this._all) {
      field.problem = problems[`${section}.${name}`] ?? this._unasked(section, name);
    }
  }

  /** Why Slurm could not be asked, said beside the provider while that is Slurm. */
  private _unasked(section: string, name: string): string {
    const here = section === 'Blocks' && name === 'provider' && this._provider === 'slurm';
    return here ? this._form.problem : '';
  }

  private _setting(section: string, name: string, schema: IFieldSchema): ISetting {
    const many = schema.type === 'array' || schema.type === 'object';
    const number = schema.type === 'integer' || schema.type === 'number';
    const field = new Field({
      label: this._trans._p('form', schema.title),
      help: this._trans._p('form', schema.description),
      kind: many ? 'lines' : schema.type === 'boolean' ? 'check' : number ? 'number' : 'text',
      choices: choices(name, schema, section === 'Blocks' ? this._form.slurm : null, this._trans),
      placeholder: this._placeholder(schema),
      onChange: () => this._changed(section, name)
    });
    field.node.dataset.setting = `${section}.${name}`;
    const value = this._form.values[section]?.[name];
    field.text = schema.type === 'boolean' ? String(value === true) : written(value);
    return { section, name, schema, field };
  }

  private _placeholder(schema: IFieldSchema): string {
    const lines = { array: this._trans.__('one on each line'), object: 'NAME=VALUE' };
    return schema.type in lines
      ? lines[schema.type as keyof typeof lines]
      : (schema['x-form'] ?? '');
  }

  private _changed(section: string, name: string): void {
    if (section === 'Blocks' && name === 'provider') {
      this._fit(this._form.fitting[this._provider]);
    }
    if (section === 'Blocks' && name === 'partition') {
      const chosen = this._of('Blocks', 'partition')?.field.text ?? '';
      const { partition: _, ...rest } = this._partition(chosen)?.fitting ?? {};
      this._fit(rest);
    }
    this._typed();
  }

  private _of(section: string, name: string): ISetting | undefined {
    return this._all.find(one => one.section === section && one.name === name);
  }

  private _set(section: string, name: string, value: unknown): void {
    const found = this._of(section, name);
    if (found !== undefined) {
      found.field.text = found.schema.type === 'boolean' ? String(value === true) : written(value);
    }
  }

  private get _provider(): string {
    return this._of('Blocks', 'provider')?.field.text ?? '';
  }

  private _partition(name: string): ISlurmPartition | undefined {
    return this._form.slurm?.partitions.find(one => (name ? one.name === name : one.default));
  }

  /** Fill in what fits, where nothing was typed. */
  private _fit(values: Readonly<Record<string, unknown>> | undefined): void {
    for (const [name, value] of Object.entries(values ?? {})) {
      if (this._of('Blocks', name)?.field.typed === false) {
        this._set('Blocks', name, value);
      }
    }
  }
}
