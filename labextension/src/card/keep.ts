/**
 * Keeps what cards write into notebooks. Nobody typed it, so nobody is asked about it when they leave: it is saved at once
 * where JupyterLab saves by itself anyway, and else is no change that has to be.
 */

import { CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';

import { placeOf } from './where';

/** JupyterLab's own settings of documents. */
const DOCUMENTS = '@jupyterlab/docmanager-extension:plugin';
/** Milliseconds that further cards have to end, too, before their notebook is saved. */
const SOON = 1000;

export interface IKeeper {
  /** Have a card written into its notebook. One that had nothing to save has nothing to save after it. */
  quietly(node: HTMLElement, write: () => void): void;
  /**
   * A card is drawn; `over`: its notebook has the end of its task. If somebody else wrote that (the kernel did) and its cell
   * was over before, so that nobody waits to save it, it is kept, too.
   */
  saw(taskId: string, over: boolean, node: HTMLElement): void;
}

export class Keeper implements IKeeper {
  private readonly _due = new Set<NotebookPanel>();
  /** Tasks that were seen here to go on. Outputs come and go, and their renderers with them. */
  private readonly _open = new Set<string>();

  constructor(
    private readonly _tracker: INotebookTracker | null,
    private readonly _saves: () => Promise<boolean>
  ) {}

  quietly(node: HTMLElement, write: () => void): void {
    const model = placeOf(this._tracker, node)?.panel.context.model;
    const clean = model?.dirty === false;
    write();
    if (model !== undefined && clean) {
      model.dirty = false;
      this._save(node);
    }
  }

  saw(taskId: string, over: boolean, node: HTMLElement): void {
    if (!over) {
      this._open.add(taskId);
    }
    if (!over || !this._open.delete(taskId)) {
      return;
    }
    const cell = placeOf(this._tracker, node)?.cell;
    if (cell instanceof CodeCell && cell.model.executionState === 'idle') {
      this._save(node);
    }
  }

  private _save(node: HTMLElement): void {
    const panel = placeOf(this._tracker, node)?.panel;
    // A notebook that several people have open is saved by the server.
    if (panel === undefined || panel.context.model.collaborative || this._due.has(panel)) {
      return;
    }
    this._due.add(panel);
    window.setTimeout(() => {
      this._due.delete(panel);
      void this._saves().then(async does => {
        if (does && !panel.isDisposed && !panel.context.model.readOnly) {
          await panel.context.save();
        }
      });
    }, SOON);
  }
}

/** Whether JupyterLab saves documents by itself now; where that cannot be known it does not. */
export function autosaves(registry: ISettingRegistry | null): () => Promise<boolean> {
  return async () => {
    try {
      return (await registry?.get(DOCUMENTS, 'autosave'))?.composite === true;
    } catch {
      return false;
    }
  };
}
