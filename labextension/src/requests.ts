/** The only module that talks to the server. It never sees a credential: the Jupyter server has them. */

import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';

import { IFxRequests, ITaskInfo } from './tokens';
import { IAgentForm, IAgentState, Values } from './forms/schema';

/** An answer that is none: a sentence for people, for some what is wrong by field, or the end of a log. */
export class RequestError extends Error {
  readonly problems: Readonly<Record<string, string>>;
  readonly log: readonly string[];

  constructor(
    message: string,
    readonly status: number,
    found?: unknown
  ) {
    super(message);
    this.problems = isRecord(found) ? texts(found.problems) : {};
    this.log = isRecord(found) && Array.isArray(found.log) ? found.log.map(String) : [];
  }
}

function sentence(found: unknown): string {
  const message = isRecord(found) ? found.message : undefined;
  return typeof message === 'string' ? message : '';
}

function texts(found: unknown): Readonly<Record<string, string>> {
  return isRecord(found)
    ? Object.fromEntries(Object.entries(found).map(([key, value]) => [key, String(value)]))
    : {};
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export class Requests implements IFxRequests {
  constructor(
    private readonly _settings: ServerConnection.ISettings,
    private readonly _trans: TranslationBundle
  ) {}

  async cancel(taskId: string, mode: 'cancel' | 'interrupt'): Promise<number> {
    return this._count(await this._json(`tasks/${taskId}/cancel`, { mode }), 'cancelled');
  }

  async cancelGroup(group: string): Promise<number> {
    return this._count(await this._json(`groups/${group}/cancel`, {}), 'cancelled');
  }

  async closeSession(sessionId: string, kill: boolean): Promise<number> {
    return this._count(await this._json(`sessions/${sessionId}/close`, { kill }), 'closed');
  }

  async renewSession(sessionId: string): Promise<void> {
    await this._json(`sessions/${sessionId}/renew`, {});
  }

  async start(): Promise<void> {
    await this._json('start', {});
  }

  async tasks(query: Readonly<Record<string, string>>): Promise<readonly ITaskInfo[]> {
    const found = await this._json(`tasks${URLExt.objectToQueryString({ ...query })}`);
    return isRecord(found) && Array.isArray(found.tasks) ? (found.tasks as ITaskInfo[]) : [];
  }

  async log(taskId: string): Promise<Blob> {
    const response = await this._ask(`tasks/${taskId}/log/download`, {});
    return response.blob();
  }

  async agentForm(name: string): Promise<IAgentForm> {
    const query = name === '' ? '' : URLExt.objectToQueryString({ name });
    return (await this._json(`agent-form${query}`)) as IAgentForm;
  }

  async checkAgent(values: Values, name: string): Promise<Readonly<Record<string, string>>> {
    const found = await this._json('agent-check', { values, name });
    return isRecord(found) ? texts(found.problems) : {};
  }

  async createAgent(name: string, values: Values): Promise<void> {
    await this._json('agents', { name, values });
  }

  async configureAgent(name: string, values: Values): Promise<boolean> {
    const found = await this._json(`agents/${name}/configure`, { values });
    return isRecord(found) && found.changed === true;
  }

  async actAgent(name: string, action: 'start' | 'stop' | 'restart'): Promise<IAgentState> {
    return (await this._json(`agents/${name}/${action}`, {})) as IAgentState;
  }

  async agentLog(name: string): Promise<readonly string[]> {
    const found = await this._json(`agents/${name}/log?lines=200`);
    return isRecord(found) && Array.isArray(found.lines) ? found.lines.map(String) : [];
  }

  async deleteEndpoint(name: string): Promise<void> {
    await this._json(`endpoints/${name}/delete`, {});
  }

  async signIn(address: string, token: string): Promise<string> {
    const found = await this._json('hub/sign-in', { address, token });
    return isRecord(found) && typeof found.user === 'string' ? found.user : '';
  }

  async leaveHub(forget: boolean): Promise<void> {
    await this._json('hub/leave', { forget });
  }

  /** A socket to the live stories; cookies say who we are. */
  socket(): WebSocket {
    return new this._settings.WebSocket(URLExt.join(this._settings.wsUrl, 'jupyter-fx/live'));
  }

  private _count(found: unknown, name: string): number {
    const count = isRecord(found) ? found[name] : 0;
    return typeof count === 'number' ? count : 0;
  }

  private async _json(path: string, body?: unknown): Promise<unknown> {
    const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    return (await this._ask(path, init)).json() as Promise<unknown>;
  }

  private async _ask(path: string, init: RequestInit): Promise<Response> {
    const url = URLExt.join(this._settings.baseUrl, 'jupyter-fx', path);
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this._settings);
    } catch {
      throw new RequestError(
        this._trans.__('the Jupyter server cannot be reached: look whether it runs'),
        0
      );
    }
    if (!response.ok) {
      let said: unknown;
      try {
        said = await response.json();
      } catch {
        // No JSON: the status has to do.
      }
      throw new RequestError(
        sentence(said) || this._trans.__('the Jupyter server answered %1', response.status),
        response.status,
        said
      );
    }
    return response;
  }
}
