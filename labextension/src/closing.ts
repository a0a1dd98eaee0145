/** Closes a session, after a question: its variables are lost. */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

import { IFxRequests } from './tokens';

export async function closeSession(
  requests: IFxRequests,
  sessionId: string,
  trans: TranslationBundle
): Promise<void> {
  const sure = await showDialog({
    title: trans.__('Close the session?'),
    body: trans.__('Its variables are lost; cells of it that wait are cancelled.'),
    buttons: [
      Dialog.cancelButton({ label: trans.__('Cancel') }),
      Dialog.warnButton({ label: trans.__('Close') })
    ]
  });
  if (sure.button.accept) {
    await requests.closeSession(sessionId, false);
  }
}
