/** Where a card stands: whether its kernel still feeds it, and whether its notebook may be written to. */

import { Cell, CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, NotebookPanel } from '@jupyterlab/notebook';

export interface IPlace {
  /** Whether messages of the kernel reach the card's cell in this page: it was run here, and the kernel lives on. */
  readonly fed: boolean;
  readonly readOnly: boolean;
}

/** Finds the place of a card's node. */
export type Where = (node: HTMLElement) => IPlace;

const NOWHERE: IPlace = { fed: false, readOnly: true };

/** The notebook of a node, and its cell. */
export function placeOf(
  tracker: INotebookTracker | null,
  node: HTMLElement
): { readonly panel: NotebookPanel; readonly cell: Cell | undefined } | null {
  const panel = tracker?.find(one => one.node.contains(node));
  return panel === undefined
    ? null
    : { panel, cell: panel.content.widgets.find(widget => widget.node.contains(node)) };
}

export function whereIn(tracker: INotebookTracker | null): Where {
  return node => {
    const place = placeOf(tracker, node);
    if (place === null) {
      return NOWHERE;
    }
    const { panel, cell } = place;
    return { fed: cell instanceof CodeCell && isFed(cell), readOnly: panel.context.model.readOnly };
  };
}

function isFed(cell: CodeCell): boolean {
  // The area has none before its cell was run in this page. A kernel that restarts disposes of all of its futures.
  const future = cell.outputArea.future as CodeCell['outputArea']['future'] | null | undefined;
  return future != null && !future.isDisposed;
}
