/** What the user has set (schema/settings.json). Where there are no settings, the defaults hold. */

import { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ISignal, Signal } from '@lumino/signaling';

import { isName } from './front/python';
import { IFxLive, IFxSettings } from './tokens';

const ID = 'jupyter-fx:settings';

export class Settings implements IFxSettings {
  private _set: Readonly<Record<string, unknown>> = {};
  private readonly _changed = new Signal<this, void>(this);

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  take(set: Readonly<Record<string, unknown>>): void {
    this._set = set;
    this._changed.emit();
  }

  get refresh(): number {
    return this._number('refresh', 10, 600, 10);
  }

  get defaultEndpoint(): string {
    return isName(this._set.defaultEndpoint) ? this._set.defaultEndpoint : '';
  }

  get notify(): boolean {
    return this._set.notify !== false;
  }

  get notifyAfter(): number {
    return this._number('notifyAfter', 0, 86_400, 60);
  }

  get launcherCards(): boolean {
    return this._set.launcherCards !== false;
  }

  private _number(name: string, least: number, most: number, usual: number): number {
    const found = this._set[name];
    return typeof found === 'number' && Number.isFinite(found)
      ? Math.min(most, Math.max(least, found))
      : usual;
  }
}

export const settings: JupyterFrontEndPlugin<IFxSettings> = {
  id: ID,
  description: 'What the user has set for remote cells.',
  autoStart: true,
  requires: [IFxLive],
  optional: [ISettingRegistry],
  provides: IFxSettings,
  activate: async (_app: JupyterFrontEnd, live: IFxLive, registry: ISettingRegistry | null) => {
    const set = new Settings();
    try {
      const found = await registry?.load(ID);
      const take = (): void => {
        if (found !== undefined) {
          set.take(found.composite);
        }
        live.pace(set.refresh);
      };
      found?.changed.connect(take);
      take();
    } catch {
      // A registry without our schema: the defaults hold.
    }
    return set;
  }
};
