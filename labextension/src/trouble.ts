/** Does what was asked for, and says why when it fails. */

import { Notification } from '@jupyterlab/apputils';

/** JupyterLab shows 140 characters, the rest is in its notification centre. */
const LONGEST = 500;

export function sentence(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, LONGEST);
}

/** Whether it was done. */
export async function trying(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    Notification.error(sentence(error), { autoClose: 8000 });
    return false;
  }
}
