/** One field of a form: its label, what can be typed or chosen, its help, and what is wrong with it. */

import { make, say } from '../dom';

let made = 0;

export type Kind = 'text' | 'lines' | 'check' | 'password' | 'number';

export interface IFieldOptions {
  readonly label: string;
  readonly help: string;
  readonly kind: Kind;
  /** What is chosen from: [value, words]. */
  readonly choices?: readonly (readonly [string, string])[] | null;
  readonly placeholder?: string;
  readonly onChange: () => void;
}

export class Field {
  readonly node: HTMLDivElement;
  readonly input: HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement;
  private readonly _help: HTMLElement;
  private readonly _problem = make('div', { class: 'fx-problem' });
  /** Whether its user has been here: what is wrong is not said before. */
  touched = false;
  /** Whether it holds what somebody chose: nothing is filled in over that. */
  typed = false;

  constructor(options: IFieldOptions) {
    made += 1;
    const id = `fx-field-${made}`;
    this._help = make('div', { class: 'fx-help', text: options.help });
    this._help.id = `${id}-help`;
    this._problem.id = `${id}-problem`;
    this._problem.setAttribute('aria-live', 'polite');
    this.input = control(options);
    this.input.id = id;
    this.input.setAttribute('aria-describedby', `${this._problem.id} ${this._help.id}`);
    const label = make('label', { text: options.label });
    label.htmlFor = id;
    const check = options.kind === 'check';
    const head = check ? make('div', { class: 'fx-check' }, this.input, label) : label;
    this.node = make('div', { class: 'fx-field' }, head);
    if (!check) {
      this.node.append(this.input);
    }
    this.node.append(this._problem, this._help);
    const changed = (): void => {
      this.touched = this.typed = true;
      options.onChange();
    };
    this.input.addEventListener(
      check || this.input.tagName === 'SELECT' ? 'change' : 'input',
      changed
    );
    this.input.addEventListener('blur', () => {
      if (!this.touched && this.text !== '') {
        this.touched = true;
        options.onChange();
      }
    });
  }

  get text(): string {
    return this.input instanceof HTMLInputElement && this.input.type === 'checkbox'
      ? String(this.input.checked)
      : this.input.value;
  }

  set text(value: string) {
    if (this.input instanceof HTMLInputElement && this.input.type === 'checkbox') {
      this.input.checked = value === 'true';
      return;
    }
    if (this.input instanceof HTMLSelectElement) {
      const known = [...this.input.options].some(one => one.value === value);
      if (!known) {
        this.input.append(new Option(value, value));
      }
    }
    this.input.value = value;
  }

  set help(text: string) {
    say(this._help, text);
  }

  get problem(): string {
    return this._problem.textContent;
  }

  set problem(text: string) {
    say(this._problem, text);
    this.input.setAttribute('aria-invalid', String(text !== ''));
  }
}

function control(options: IFieldOptions): Field['input'] {
  if (options.choices != null) {
    const select = make('select');
    select.append(...options.choices.map(([value, words]) => new Option(words, value)));
    return select;
  }
  if (options.kind === 'lines') {
    const area = make('textarea');
    area.rows = 2;
    area.spellcheck = false;
    area.placeholder = options.placeholder ?? '';
    return area;
  }
  const input = make('input');
  input.type = { text: 'text', number: 'text', check: 'checkbox', password: 'password' }[
    options.kind
  ];
  if (options.kind === 'number') {
    input.inputMode = 'decimal';
  }
  input.placeholder = options.placeholder ?? '';
  input.autocomplete = 'off';
  input.spellcheck = false;
  return input;
}
