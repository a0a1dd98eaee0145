/** The notebooks of this page: where the remote cells of each run, and what is done in the one in front. */

import { INotebookTracker, Notebook, NotebookActions, NotebookPanel } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';
import { ISignal, Signal } from '@lumino/signaling';

import { IFxFront, IFxLive, IFxSettings, ISessionInfo, IState } from '../tokens';
import { Binding } from './binding';
import { fx, LOAD, REMOTE } from './python';

/** Cells that may choose an endpoint, open a session or start a task. */
const OURS = /%%?remote\b|%fx\b|\bfx\.|jupyter_fx/;
/** Milliseconds after which a cell that was started is known to the hub. */
const SOON = 700;

export interface IFrontServices {
  readonly tracker: INotebookTracker | null;
  readonly live: IFxLive;
  readonly settings: IFxSettings;
  readonly trans: TranslationBundle;
  readonly trouble: (message: string) => void;
}

export class Front implements IFxFront {
  private readonly _bindings = new Map<NotebookPanel, Binding>();
  private readonly _changed = new Signal<this, void>(this);

  constructor(private readonly _services: IFrontServices) {
    const { tracker } = _services;
    tracker?.forEach(panel => this._add(panel));
    tracker?.widgetAdded.connect((_, panel) => this._add(panel));
    tracker?.currentChanged.connect(() => this._changed.emit());
    NotebookActions.executed.connect((_, { notebook, cell }) =>
      this._ran(notebook, cell.model.sharedModel.getSource(), 0)
    );
    NotebookActions.executionScheduled.connect((_, { notebook, cell }) =>
      this._ran(notebook, cell.model.sharedModel.getSource(), SOON)
    );
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get panel(): NotebookPanel | null {
    return this._services.tracker?.currentWidget ?? null;
  }

  endpoint(state: IState | null, panel: NotebookPanel | null = this.panel): string {
    if (panel === null) {
      return '';
    }
    const binding = this._bindings.get(panel);
    const found = (binding?.endpoint ?? '') || (this._sessions(panel, state)[0]?.endpoint ?? '');
    if (found !== '' || binding?.settled !== true) {
      return found;
    }
    return this._services.settings.defaultEndpoint || 'local';
  }

  possible(panel: NotebookPanel): boolean {
    return this._bindings.get(panel)?.possible !== false;
  }

  pending(panel: NotebookPanel): string {
    return this._bindings.get(panel)?.pending ?? '';
  }

  session(state: IState | null, panel: NotebookPanel | null = this.panel): ISessionInfo | null {
    const endpoint = this.endpoint(state, panel);
    const all = panel === null ? [] : this._sessions(panel, state);
    const here = all.filter(one => one.endpoint === endpoint);
    // A second endpoint's main session is called main-NAME: (kernel, name) names a lease.
    return here.find(one => one.name === 'main' || one.name.startsWith('main-')) ?? here[0] ?? null;
  }

  async use(endpoint: string, panel: NotebookPanel | null = this.panel): Promise<void> {
    await this._binding(panel).use(endpoint);
    this._services.live.refresh();
  }

  async newSession(panel: NotebookPanel | null = this.panel): Promise<void> {
    await this._binding(panel).run(fx('session new'));
    this._services.live.refresh();
  }

  async runBelow(source: string): Promise<void> {
    const panel = this._binding(this.panel).panel;
    NotebookActions.insertBelow(panel.content);
    panel.content.activeCell?.model.sharedModel.setSource(source);
    await NotebookActions.run(panel.content, panel.sessionContext);
  }

  activate(node: HTMLElement | undefined): void {
    const notebook = this.panel?.content;
    const index = notebook?.widgets.findIndex(cell => cell.node === node) ?? -1;
    if (notebook !== undefined && index >= 0) {
      notebook.activeCellIndex = index;
    }
  }

  markRemote(): boolean {
    const model = this.panel?.content.activeCell?.model;
    if (model == null || model.type !== 'code') {
      return false;
    }
    const source = model.sharedModel.getSource();
    if (/^\s*%%remote\b/.test(source)) {
      return false;
    }
    model.sharedModel.setSource(`${REMOTE}\n${source}`);
    return true;
  }

  async runRemote(): Promise<void> {
    const binding = this._binding(this.panel);
    const { content, sessionContext } = binding.panel;
    await binding.run(LOAD);
    this.markRemote();
    await NotebookActions.run(content, sessionContext);
  }

  private _binding(panel: NotebookPanel | null): Binding {
    const found = panel === null ? undefined : this._bindings.get(panel);
    if (found === undefined) {
      throw new Error(
        this._services.trans.__('open a notebook first: its remote cells are what this is about')
      );
    }
    return found;
  }

  private _add(panel: NotebookPanel): void {
    if (this._bindings.has(panel)) {
      return;
    }
    const { trans, settings, trouble } = this._services;
    const binding = new Binding(panel, {
      trans,
      usual: () => settings.defaultEndpoint,
      changed: () => this._changed.emit(),
      trouble
    });
    this._bindings.set(panel, binding);
    panel.disposed.connect(() => {
      binding.dispose();
      this._bindings.delete(panel);
    });
  }

  /** Of the notebook's kernel, the newest first; those that have ended are left out. */
  private _sessions(panel: NotebookPanel, state: IState | null): readonly ISessionInfo[] {
    const id = panel.sessionContext.session?.kernel?.id;
    return (state?.sessions ?? [])
      .filter(one => one.kernel_id === id && !['CLOSED', 'LOST'].includes(one.state))
      .sort((a, b) => b.opened - a.opened);
  }

  /** A cell was started or has ended: if it was one of ours, look what has become of it. */
  private _ran(notebook: Notebook, source: string, after: number): void {
    if (!OURS.test(source)) {
      return;
    }
    window.setTimeout(() => this._services.live.refresh(), after);
    if (after === 0) {
      for (const [panel, binding] of this._bindings) {
        if (panel.content === notebook) {
          binding.ask();
        }
      }
    }
  }
}
