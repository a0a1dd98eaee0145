/** Where a card stands: whether its kernel still feeds it, and whether its notebook may be written to. */

import { CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

export interface IPlace {
  /** Whether messages of the kernel reach the card's cell in this page: it was run here, and the kernel lives on. */
  readonly fed: boolean;
  readonly readOnly: boolean;
}

/** Finds the place of a card's node. */
export type Where = (node: HTMLElement) => IPlace;

const NOWHERE: IPlace = { fed: false, readOnly: true };

export function whereIn(tracker: INotebookTracker | null): Where {
  return node => {
    let found: NotebookPanel | undefined;
    tracker?.forEach(panel => {
      if (panel.node.contains(node)) {
        found = panel;
      }
    });
    const panel = found;
    if (panel === undefined) {
      return NOWHERE;
    }
    const cell = panel.content.widgets.find(widget => widget.node.contains(node));
    return { fed: cell instanceof CodeCell && isFed(cell), readOnly: panel.context.model.readOnly };
  };
}

function isFed(cell: CodeCell): boolean {
  // The area has none before its cell was run in this page. A kernel that restarts disposes of all of its futures.
  const future = cell.outputArea.future as CodeCell['outputArea']['future'] | null | undefined;
  return future != null && !future.isDisposed;
}
