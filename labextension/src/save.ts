/** Saves a task's log as a file of the browser's. */

import { IFxRequests } from './tokens';

export async function save(requests: IFxRequests, taskId: string): Promise<void> {
  const blob = await requests.log(taskId);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `task-${taskId.slice(-8)}.log`;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
