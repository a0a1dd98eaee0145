/** The panel: endpoints, sessions and tasks as they are now, and what can be done about them. */

import { Clipboard } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { ended, stateOf } from '../card/read';
import { closeSession } from '../closing';
import { button, make, say } from '../dom';
import { clock } from '../format';
import { save } from '../save';
import { Tasks } from '../tasks';
import { IEndpointInfo, IFxFront, IFxRequests, ISessionInfo, ITaskInfo } from '../tokens';
import { trying } from '../trouble';
import { Section } from './section';
import { EndpointRow, IContext, IDoes, SessionRow } from './sections';
import { TaskRow } from './taskrow';

const now = (): number => Date.now() / 1000;

export interface IPanelServices {
  readonly tasks: Tasks;
  readonly requests: IFxRequests;
  readonly front: IFxFront;
  readonly trans: TranslationBundle;
  readonly pathOf: (kernelId: string) => string;
  readonly openPath: (path: string) => void;
}

export class FxPanel extends Widget {
  private readonly _trans: TranslationBundle;
  private readonly _hub = make('div', { class: 'fx-hub', role: 'status' });
  private readonly _start: HTMLButtonElement;
  private readonly _only = make('input');
  private readonly _endpoints: Section<IEndpointInfo>;
  private readonly _sessions: Section<ISessionInfo>;
  private readonly _tasks: Section<ITaskInfo>;
  private _looking: IDisposable | null = null;
  private _timer = 0;
  private _used = '';

  constructor(private readonly _services: IPanelServices) {
    super();
    this.addClass('fx-panel');
    const trans = (this._trans = _services.trans);
    const context: IContext = {
      trans,
      does: this._does(),
      tasks: _services.tasks,
      now,
      used: () => this._used,
      hasNotebook: () => _services.front.panel !== null,
      pathOf: _services.pathOf
    };
    this._endpoints = new Section<IEndpointInfo>(
      trans,
      trans.__('Endpoints'),
      item => item.endpoint_id,
      () => new EndpointRow(context)
    );
    this._sessions = new Section<ISessionInfo>(
      trans,
      trans.__('Sessions'),
      item => item.session_id,
      item => new SessionRow(context, item)
    );
    this._tasks = new Section<ITaskInfo>(
      trans,
      trans.__('Tasks'),
      item => item.task_id,
      item => new TaskRow(context, item)
    );
    this._start = button(trans.__('Start'), () => void this._try(_services.requests.start()), {
      class: 'fx-start',
      title: trans.__(
        'Find the hub, or start one on the Jupyter server’s machine with an endpoint named local'
      )
    });
    this._only.type = 'checkbox';
    this._only.addEventListener('change', () => this._draw());
    this._tasks.extra.append(
      make(
        'label',
        { class: 'fx-faint' },
        this._only,
        document.createTextNode(trans.__('active only'))
      )
    );
    const head = make('div', { class: 'fx-panel-head' }, this._hub, this._start);
    this.node.append(head, this._endpoints.node, this._sessions.node, this._tasks.node);
    _services.tasks.live.stateChanged.connect(this._draw, this);
    _services.tasks.live.statusChanged.connect(this._draw, this);
    _services.front.changed.connect(this._draw, this);
  }

  override dispose(): void {
    this._rest();
    super.dispose();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this._looking ??= this._services.tasks.live.look();
    window.clearInterval(this._timer);
    this._timer = window.setInterval(() => this._pass(), 1000);
    this._draw();
  }

  protected override onAfterHide(message: Message): void {
    super.onAfterHide(message);
    this._rest();
  }

  private _rest(): void {
    window.clearInterval(this._timer);
    this._looking?.dispose();
    this._looking = null;
  }

  /** A second has passed: what tells times tells newer ones. */
  private _pass(): void {
    if (this.isVisible && !document.hidden) {
      this._sessions.refresh();
      this._tasks.refresh();
    }
  }

  private _draw(): void {
    if (!this.isVisible) {
      return;
    }
    const { state, status } = this._services.tasks.live;
    const trans = this._trans;
    this._drawHub();
    this._used = this._services.front.endpoint(state);
    const endpoints = state?.endpoints ?? [];
    const sessions = state?.sessions ?? [];
    const all = state?.tasks ?? [];
    const wanted = this._only.checked
      ? all.filter(task => !ended(stateOf(task.state) ?? 'sent'))
      : all;
    const wait = state === null && status?.connected === true ? trans.__('Looking …') : '';
    // The one in use stands first.
    const mine = endpoints.filter(one => one.name === this._used);
    this._endpoints.update(
      [...mine, ...endpoints.filter(one => one.name !== this._used)],
      wait ||
        trans.__(
          'No endpoint yet: Start runs one on this machine; `jupyter fx endpoint add` brings a cluster.'
        )
    );
    this._sessions.update(
      sessions,
      wait || trans.__('No session is open. The first %%remote cell of a notebook opens one.')
    );
    this._tasks.update(
      wanted,
      wait || trans.__('No tasks. Put %%remote on a cell’s first line and run it.')
    );
    this.node.classList.toggle('fx-stale', state?.stale === true || status?.connected !== true);
  }

  private _drawHub(): void {
    const { state, status } = this._services.tasks.live;
    const trans = this._trans;
    let text: string;
    if (status === null) {
      text = trans.__('Connecting to the Jupyter server …');
    } else if (status.connected) {
      text = trans.__('Connected to the fx hub as %1', status.user);
    } else {
      text = status.problem || trans.__('There is no fx hub.');
      if (state !== null && state.at > 0) {
        text += `. ${trans.__('What follows is as of %1.', clock(state.at, now()))}`;
      }
    }
    say(this._hub, text);
    this._hub.dataset.state = status?.connected === true ? 'good' : 'held';
    const local = (state?.endpoints ?? []).find(one => one.name === 'local');
    this._start.hidden = status === null || (status.connected && local?.state === 'ONLINE');
  }

  private _does(): IDoes {
    const { requests, front, openPath, pathOf } = this._services;
    return {
      use: endpoint => void this._try(front.use(endpoint)),
      openNotebook: kernelId => openPath(pathOf(kernelId)),
      renew: session => void this._try(requests.renewSession(session.session_id)),
      close: session => void this._try(closeSession(requests, session.session_id, this._trans)),
      cancel: task => void this._try(requests.cancel(task.task_id, 'cancel')),
      attach: task => void this._try(front.runBelow(`%fx attach ${task.task_id}`)),
      copy: task => Clipboard.copyToSystem(task.task_id),
      download: task => void this._try(save(requests, task.task_id))
    };
  }

  private async _try(work: Promise<unknown>): Promise<void> {
    await trying(() => work);
    this._draw();
  }
}
