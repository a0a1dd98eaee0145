/** The form of an endpoint of this machine: made from its schema, checked as it is typed, saved, started. */

import { TranslationBundle } from '@jupyterlab/translation';

import { button, make, say } from '../dom';
import { REMOTE } from '../front/python';
import { RequestError } from '../requests';
import { IFxRequests } from '../tokens';
import { IAgentForm } from './schema';
import { Field } from './field';
import { Page } from './page';
import { Settings } from './settings';
import { differing } from './values';

/** Milliseconds after the last key until the server is asked what it thinks of it. */
const PAUSE = 300;

export interface IEndpointForm {
  readonly trans: TranslationBundle;
  readonly requests: IFxRequests;
  /** Empty: a new one. */
  readonly name: string;
  readonly running: boolean;
  readonly leave: () => void;
  /** Something was done. */
  readonly changed: () => void;
}

export class EndpointForm extends Page {
  private _name: string;
  private _running: boolean;
  private readonly _nameField: Field;
  private _settings: Settings | null = null;
  private readonly _save: HTMLButtonElement;
  private readonly _go: HTMLButtonElement;
  private readonly _state = make('span', { class: 'fx-faint', role: 'status' });
  private _form: IAgentForm | null = null;
  private _timer = 0;
  private _asked = 0;
  /** Whether it was refused for what is marked beside its fields. */
  private _refused = false;

  constructor(private readonly _options: IEndpointForm) {
    super(_options.trans, '', _options.leave);
    const trans = _options.trans;
    this._name = _options.name;
    this._running = _options.running;
    this._nameField = new Field({
      label: trans.__('Name'),
      help: trans.__('Lower-case letters, digits and hyphens: cells say %1 NAME.', REMOTE),
      kind: 'text',
      onChange: () => this._typed()
    });
    this._save = button('', () => void this._submit(false), { class: 'fx-save' });
    this._go = button('', () => void this._submit(true), { class: 'fx-go' });
    this._words();
    this.node.addEventListener('keydown', event => {
      if (event.key === 'Enter' && event.target instanceof HTMLInputElement) {
        event.preventDefault();
        void this._submit(true);
      }
    });
    say(this._state, trans.__('Asking what there is …'));
    this.body.append(this._state);
    void this._begin();
  }

  override dispose(): void {
    window.clearTimeout(this._timer);
    super.dispose();
  }

  private _words(): void {
    const { trans } = this._options;
    const fresh = this._name === '';
    this.title = fresh ? trans.__('New endpoint') : trans.__('Settings of %1', this._name);
    say(this._save, fresh ? trans.__('Create') : trans.__('Save'));
    const again = this._running ? trans.__('Save and restart') : trans.__('Save and start');
    say(this._go, fresh ? trans.__('Create and start') : again);
    this._nameField.node.hidden = !fresh;
  }

  private async _begin(): Promise<void> {
    try {
      this._form = await this._options.requests.agentForm(this._name);
    } catch (error) {
      say(this._state, '');
      this.trouble(error);
      return;
    }
    say(this._state, '');
    this._settings = this._build(this._form);
    if (this._name === '') {
      this._settings.begin(this._form.slurm === null ? '' : 'slurm');
      this._nameField.input.focus();
    }
    this._settings.show();
  }

  private _build(form: IAgentForm): Settings {
    const { trans } = this._options;
    const settings = new Settings(form, trans, () => this._typed());
    const more = make('details', { class: 'fx-more-settings' });
    more.append(make('summary', { text: trans.__('More settings') }), ...settings.nodes(false));
    const cancel = button(trans.__('Cancel'), this._options.leave);
    this.body.replaceChildren(
      this._nameField.node,
      ...settings.nodes(true),
      more,
      make('div', { class: 'fx-form-end' }, this._go, this._save, cancel, this._state)
    );
    return settings;
  }

  private _typed(): void {
    this._settings?.show();
    window.clearTimeout(this._timer);
    this._timer = window.setTimeout(() => void this._check(), PAUSE);
  }

  private async _check(): Promise<void> {
    const values = this._settings?.values() ?? null;
    if (values === null) {
      return;
    }
    this._asked += 1;
    const asked = this._asked;
    const named = this._name === '' && this._nameField.touched;
    try {
      const problems = await this._options.requests.checkAgent(
        values,
        named ? this._nameField.text.trim() : ''
      );
      if (asked === this._asked) {
        this._tell(problems);
        if (this._refused && Object.keys(problems).length === 0) {
          this._refused = false;
          this.trouble();
        }
      }
    } catch (error) {
      this.trouble(error);
    }
  }

  /** Put each sentence beside its field. */
  private _tell(problems: Readonly<Record<string, string>>): void {
    this._nameField.problem = problems.name ?? '';
    this._settings?.tell(problems);
  }

  private async _submit(start: boolean): Promise<void> {
    const { trans, requests, changed } = this._options;
    window.clearTimeout(this._timer);
    this._asked += 1; // what is asked now is answered by what follows
    for (const field of this._settings?.fields ?? []) {
      field.touched = true;
    }
    this._settings?.show();
    const values = this._settings?.values() ?? null;
    const form = this._form;
    const nameless = this._name === '' && this._nameField.text.trim() === '';
    if (nameless) {
      this._nameField.problem = trans.__('It needs a name');
    }
    if (values === null || form === null || nameless || this._busy(true)) {
      this._toFirstProblem();
      return;
    }
    this.trouble();
    const fresh = this._name === '';
    try {
      if (fresh) {
        say(this._state, trans.__('Enrolling with the hub …'));
        const name = this._nameField.text.trim();
        await requests.createAgent(name, differing(values, form.values));
        this._name = name;
      } else {
        await requests.configureAgent(this._name, differing(values, form.values));
      }
      changed();
      if (start) {
        await this._start();
      }
      this.done();
    } catch (error) {
      if (error instanceof RequestError && Object.keys(error.problems).length > 0) {
        this._tell(error.problems);
        this._toFirstProblem();
        this._refused = true;
        this.trouble(null, trans.__('Nothing was changed: look at what is marked below.'));
      } else if (this._name !== '' && fresh) {
        this.trouble(error, trans.__('%1 is made, but it did not start:', this._name));
        this._form = { ...form, values: { ...form.values, ...values } };
      } else {
        this.trouble(error);
      }
      changed();
    } finally {
      this._busy(false);
      this._words();
      say(this._state, '');
    }
  }

  private async _start(): Promise<void> {
    const { trans, requests } = this._options;
    say(this._state, trans.__('Starting; it may take some seconds …'));
    const told = await requests.actAgent(this._name, this._running ? 'restart' : 'start');
    this._running = true;
    if (told.state !== '' && told.state !== 'ONLINE') {
      const late = trans.__('%1 runs, but has not reached the hub yet.', this._name);
      throw new RequestError(`${late} ${told.why}`.trim(), 0, told);
    }
  }

  private _toFirstProblem(): void {
    const all = [this._nameField, ...(this._settings?.fields ?? [])];
    const first = all.find(field => field.problem !== '' && !field.node.hidden);
    first?.node.closest('details')?.setAttribute('open', '');
    first?.input.focus();
  }

  /** Whether it was so already. */
  private _busy(now: boolean): boolean {
    const before = this._go.disabled;
    this._go.disabled = this._save.disabled = now;
    return before && now;
  }
}
