/** Tells ends of tasks by JupyterLab's notifications: each once, whichever page of this browser tells it. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator, TranslationBundle } from '@jupyterlab/translation';

import { CommandIDs } from '../commands';
import { lookWhileSeen } from '../looking';
import { isRecord } from '../requests';
import { IFxLive, IFxNotices, IFxSettings, INotice } from '../tokens';
import { Endings, IMemory, NOTHING } from './endings';
import { line, summary } from './words';

/** More ends than this at once are told in one line. */
const MOST = 3;
const STAYS = 15_000;

const kindOf = (notice: INotice): Notification.TypeOptions =>
  notice.failed > 0 ? 'error' : notice.state === 'cancelled' ? 'info' : 'success';

/** Kept by the browser, for this server. */
class Memory {
  private readonly _key: string;

  constructor(baseUrl: string) {
    this._key = `jupyter-fx:told:${baseUrl}`;
  }

  get(): IMemory {
    try {
      const found: unknown = JSON.parse(window.localStorage.getItem(this._key) ?? 'null');
      if (isRecord(found) && Array.isArray(found.told) && typeof found.latest === 'number') {
        return { told: found.told.map(String), latest: found.latest };
      }
    } catch {
      // What cannot be read is as if nothing had been told.
    }
    return NOTHING;
  }

  set(memory: IMemory): void {
    try {
      window.localStorage.setItem(this._key, JSON.stringify(memory));
    } catch {
      // A browser that keeps nothing tells once per page.
    }
  }
}

class Notices implements IFxNotices {
  private readonly _endings = new Endings();
  private _here = new Set<string>();

  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _memory: Memory,
    private readonly _live: IFxLive,
    private readonly _settings: IFxSettings,
    private readonly _trans: TranslationBundle
  ) {
    _live.stateChanged.connect(this._look, this);
  }

  tell(notice: INotice): void {
    const memory = this._memory.get();
    const told = new Set([...memory.told, ...this._here]);
    if (notice.tasks.some(id => told.has(id))) {
      return;
    }
    notice.tasks.forEach(id => this._here.add(id));
    this._memory.set({ ...memory, told: [...memory.told, ...notice.tasks].slice(-1000) });
    this._show(notice);
  }

  private _look(): void {
    const state = this._live.state;
    if (state?.tasks === undefined || state.stale) {
      return;
    }
    const memory = this._memory.get();
    const known = { ...memory, told: [...memory.told, ...this._here] };
    const [notices, next] = this._endings.take(state.tasks, known, this._settings.notifyAfter);
    if (next.latest !== memory.latest || next.told.length !== memory.told.length) {
      this._memory.set(next);
    }
    this._here = new Set(next.told);
    if (!this._settings.notify) {
      return;
    }
    if (notices.length > MOST) {
      const failed = notices.some(one => one.failed > 0);
      Notification.emit(summary(notices, this._trans), failed ? 'warning' : 'success', {
        autoClose: STAYS,
        actions: [this._panelAction()]
      });
    } else {
      notices.forEach(notice => this._show(notice));
    }
  }

  private _show(notice: INotice): void {
    Notification.emit(line(notice, this._trans), kindOf(notice), {
      autoClose: STAYS,
      actions: [...this._notebookAction(notice.kernelId), this._panelAction()]
    });
  }

  private _panelAction(): Notification.IAction {
    return {
      label: this._trans.__('Show tasks'),
      callback: () => void this._app.commands.execute(CommandIDs.open)
    };
  }

  private _notebookAction(kernelId: string): Notification.IAction[] {
    const running = [...this._app.serviceManager.sessions.running()];
    const path = running.find(one => kernelId !== '' && one.kernel?.id === kernelId)?.path;
    return path === undefined
      ? []
      : [
          {
            label: this._trans.__('Open notebook'),
            callback: () => void this._app.commands.execute('docmanager:open', { path })
          }
        ];
  }
}

export const notices: JupyterFrontEndPlugin<IFxNotices> = {
  id: 'jupyter-fx:notices',
  description: 'Tells when long remote tasks have ended.',
  autoStart: true,
  requires: [IFxLive, IFxSettings],
  optional: [ITranslator],
  provides: IFxNotices,
  activate: (
    app: JupyterFrontEnd,
    live: IFxLive,
    settings: IFxSettings,
    translator: ITranslator | null
  ) => {
    const trans = (translator ?? nullTranslator).load('jupyter_fx');
    const memory = new Memory(app.serviceManager.serverSettings.baseUrl);
    lookWhileSeen(live);
    return new Notices(app, memory, live, settings, trans);
  }
};
