/** The notebook in front: which endpoint it uses, and what is done in it for the panel. */

import { NotebookActions, INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ISignal, Signal } from '@lumino/signaling';

import { IState } from '../tokens';

const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

export class Front {
  /** What was chosen here, by kernel. */
  private readonly _chosen = new Map<string, string>();
  private readonly _changed = new Signal<this, void>(this);

  constructor(private readonly _tracker: INotebookTracker | null) {
    _tracker?.currentChanged.connect(() => this._changed.emit());
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get panel(): NotebookPanel | null {
    return this._tracker?.currentWidget ?? null;
  }

  get kernelId(): string {
    return this.panel?.sessionContext.session?.kernel?.id ?? '';
  }

  /** The endpoint of its remote cells, as far as it is known: chosen here, or where its newest session is. */
  endpoint(state: IState | null): string {
    return this.endpointOf(this.kernelId, state);
  }

  endpointOf(kernelId: string, state: IState | null): string {
    const sessions = (state?.sessions ?? []).filter(
      one => kernelId !== '' && one.kernel_id === kernelId
    );
    const newest = [...sessions].sort((a, b) => b.opened - a.opened)[0];
    return this._chosen.get(kernelId) ?? newest?.endpoint ?? '';
  }

  /** Have its remote cells run there from now on. Throws a sentence when that does not work. */
  async use(endpoint: string): Promise<void> {
    const kernel = this.panel?.sessionContext.session?.kernel;
    if (kernel == null || !NAME.test(endpoint)) {
      throw new Error('open a notebook first: its remote cells are what this is about');
    }
    const code =
      'get_ipython().extension_manager.load_extension("jupyter_fx")\n' +
      `get_ipython().run_line_magic("fx", "use ${endpoint}")`;
    const future = kernel.requestExecute({ code, silent: true, store_history: false });
    const reply = await future.done;
    if (reply.content.status === 'error') {
      throw new Error(reply.content.evalue || 'the notebook’s kernel refused');
    }
    this._chosen.set(kernel.id, endpoint);
    this._changed.emit();
  }

  /** Put a cell with this text below the active one and run it. */
  async runBelow(source: string): Promise<void> {
    const panel = this.panel;
    if (panel === null) {
      throw new Error('open a notebook first');
    }
    NotebookActions.insertBelow(panel.content);
    panel.content.activeCell?.model.sharedModel.setSource(source);
    await NotebookActions.run(panel.content, panel.sessionContext);
  }

  /** Make the cell of this node the active one: a menu is about the cell that was pointed at. */
  activate(node: HTMLElement | undefined): void {
    const notebook = this.panel?.content;
    const index = notebook?.widgets.findIndex(cell => cell.node === node) ?? -1;
    if (notebook !== undefined && index >= 0) {
      notebook.activeCellIndex = index;
    }
  }

  /** Let the active cell begin with `%%remote`; false when it does already. */
  markRemote(): boolean {
    const cell = this.panel?.content.activeCell;
    const model = cell?.model;
    if (model == null || model.type !== 'code') {
      return false;
    }
    const source = model.sharedModel.getSource();
    if (/^\s*%%remote\b/.test(source)) {
      return false;
    }
    model.sharedModel.setSource(`%%remote\n${source}`);
    return true;
  }

  async runRemote(): Promise<void> {
    const panel = this.panel;
    if (panel !== null) {
      await panel.sessionContext.session?.kernel?.requestExecute({
        code: 'get_ipython().extension_manager.load_extension("jupyter_fx")',
        silent: true,
        store_history: false
      }).done;
      this.markRemote();
      await NotebookActions.run(panel.content, panel.sessionContext);
    }
  }
}
