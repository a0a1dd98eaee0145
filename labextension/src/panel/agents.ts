/** What the panel does to endpoints of this machine, and to the choice of the hub. */

import { Dialog, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';

import { EndpointForm } from '../forms/endpoint';
import { HubPage } from '../forms/hub';
import { AgentLog } from '../forms/log';
import { Page } from '../forms/page';
import { IAgent, IEndpointInfo, IFxLive, IFxRequests } from '../tokens';
import { trying } from '../trouble';
import { IDoes } from './sections';

export interface IAgentsServices {
  readonly trans: TranslationBundle;
  readonly requests: IFxRequests;
  readonly live: IFxLive;
  readonly show: (page: Page | null) => void;
  /** Something is to be drawn anew. */
  readonly changed: () => void;
}

export class Agents {
  known: readonly IAgent[] = [];
  private readonly _doing = new Map<string, string>();

  constructor(private readonly _services: IAgentsServices) {}

  /** The one with this id, if it is of this machine. */
  find(endpointId: string): IAgent | null {
    return this.known.find(one => one.endpoint_id !== '' && one.endpoint_id === endpointId) ?? null;
  }

  doing(name: string): string {
    return this._doing.get(name) ?? '';
  }

  get does(): Pick<IDoes, 'act' | 'configure' | 'log' | 'remove'> {
    const { trans, requests, show } = this._services;
    return {
      act: (agent, action, item) => void this._act(agent, action, item),
      configure: agent => this._form(agent.name, agent.running),
      log: agent => show(new AgentLog(trans, requests, agent.name, () => show(null))),
      remove: (item, agent) => void this._remove(item, agent)
    };
  }

  /** The form of a new one. */
  make(): void {
    this._form('', false);
  }

  /** The page about which hub it is. */
  hub(): void {
    const { trans, requests, live, show, changed } = this._services;
    const { status } = live;
    show(new HubPage({ trans, requests, status, leave: () => show(null), changed }));
  }

  private _form(name: string, running: boolean): void {
    const { trans, requests, show, live } = this._services;
    const leave = (): void => show(null);
    const changed = (): void => live.refresh();
    show(new EndpointForm({ trans, requests, name, running, leave, changed }));
  }

  private async _act(
    agent: IAgent,
    action: 'start' | 'stop' | 'restart',
    item: IEndpointInfo
  ): Promise<void> {
    const { trans, requests } = this._services;
    const words = {
      start: trans.__('starting …'),
      stop: trans.__('stopping …'),
      restart: trans.__('restarting …')
    };
    const works = item.running + item.leased;
    if (action !== 'start' && works > 0) {
      const sure = await this._ask(
        action === 'stop' ? trans.__('Stop %1?', item.name) : trans.__('Restart %1?', item.name),
        trans.__(
          '%1 of its tasks have begun: they are ended. Those that wait go on waiting.',
          works
        ),
        action === 'stop' ? trans.__('Stop') : trans.__('Restart')
      );
      if (!sure) {
        return;
      }
    }
    await this._do(agent.name, words[action], () => requests.actAgent(agent.name, action));
  }

  private async _remove(item: IEndpointInfo, agent: IAgent | null): Promise<void> {
    const { trans, requests } = this._services;
    const sure = await this._ask(
      trans.__('Delete %1?', item.name),
      agent !== null
        ? trans.__(
            'Its agent is stopped; its settings, logs and stored results are removed, and tasks that wait for it are cancelled.'
          )
        : trans.__(
            'It runs on another machine: the hub forgets it and cancels the tasks that wait for it. What it has there stays there.'
          ),
      trans.__('Delete')
    );
    if (sure) {
      await this._do(item.name, trans.__('deleting …'), () => requests.deleteEndpoint(item.name));
    }
  }

  private async _ask(title: string, body: string, label: string): Promise<boolean> {
    const cancel = Dialog.cancelButton({ label: this._services.trans.__('Cancel') });
    const buttons = [cancel, Dialog.warnButton({ label })];
    return (await showDialog({ title, body, buttons })).button.accept;
  }

  private async _do(name: string, words: string, work: () => Promise<unknown>): Promise<void> {
    const { live, changed } = this._services;
    this._doing.set(name, words);
    changed();
    await trying(work);
    this._doing.delete(name);
    live.refresh();
    changed();
  }
}
