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
import { Page } from '../forms/page';
import { REMOTE } from '../front/python';
import { save } from '../save';
import { Tasks } from '../tasks';
import { IEndpointInfo, IFxFront, IFxRequests, ISessionInfo, ITaskInfo } from '../tokens';
import { trying } from '../trouble';
import { Agents } from './agents';
import { Section } from './section';
import { EndpointRow } from './endpointrow';
import { IContext, IDoes } from './sections';
import { SessionRow } from './sessionrow';
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
  private readonly _agents: Agents;
  private readonly _main = make('div');
  private _page: Page | null = null;
  private _used = '';

  constructor(private readonly _services: IPanelServices) {
    super();
    this.addClass('fx-panel');
    const trans = (this._trans = _services.trans);
    this._agents = new Agents({
      trans,
      requests: _services.requests,
      live: _services.tasks.live,
      show: page => this._show(page),
      changed: () => this._draw()
    });
    const context: IContext = {
      trans,
      does: this._does(),
      tasks: _services.tasks,
      now,
      used: () => this._used,
      hasNotebook: () => _services.front.panel !== null,
      pathOf: _services.pathOf,
      agentOf: id => this._agents.find(id),
      doing: name => this._agents.doing(name)
    };
    this._endpoints = new Section<IEndpointInfo>(
      trans,
      trans.__('Endpoints'),
      item => item.endpoint_id,
      item => new EndpointRow(context, item)
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
      class: 'fx-start'
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
    const hub = button(trans.__('Hub …'), () => this._agents.hub(), {
      title: trans.__('Which fx hub this is; sign in at another one')
    });
    const fresh = button(trans.__('New …'), () => this._agents.make(), {
      title: trans.__('Make an endpoint on this machine, for its batch system or for itself')
    });
    this._endpoints.extra.append(fresh);
    const head = make('div', { class: 'fx-panel-head' }, this._hub, this._start, hub);
    this._main.append(head, this._endpoints.node, this._sessions.node, this._tasks.node);
    this.node.append(this._main);
    _services.tasks.live.stateChanged.connect(this._draw, this);
    _services.tasks.live.statusChanged.connect(this._draw, this);
    _services.front.changed.connect(this._draw, this);
  }

  /** Show a page in place of the lists; null: the lists. */
  private _show(page: Page | null): void {
    const back = document.activeElement;
    this._page?.dispose();
    this._page = page;
    this._main.hidden = page !== null;
    if (page !== null) {
      this.node.append(page.node);
      page.node.querySelector<HTMLElement>('input, select, button')?.focus();
    } else if (back === null || back === document.body || !this._main.contains(back)) {
      this._endpoints.node.querySelector<HTMLElement>('button')?.focus();
    }
    this._draw();
  }

  override dispose(): void {
    this._page?.dispose();
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
    this._agents.known = state?.agents ?? [];
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
        [
          trans.__('No endpoint yet.'),
          this._start.hidden ? '' : trans.__('Start runs one named local on this machine.'),
          trans.__(
            'New makes one here or on the batch system; `jupyter fx endpoint add` brings one that you reach by ssh.'
          )
        ]
          .filter(Boolean)
          .join(' ')
    );
    this._sessions.update(
      sessions,
      wait || trans.__('No session is open. The first %1 cell of a notebook opens one.', REMOTE)
    );
    this._tasks.update(
      wanted,
      wait || trans.__('No tasks. Put %1 on a cell’s first line and run it.', REMOTE)
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
      text =
        status.hub === 'own'
          ? trans.__('Connected to the fx hub as %1', status.user)
          : trans.__('Connected to the fx hub %2 as %1', status.user, status.address);
    } else {
      text = status.problem || trans.__('There is no fx hub.');
      if (state !== null && state.at > 0) {
        text += `. ${trans.__('What follows is as of %1.', clock(state.at, now()))}`;
      }
    }
    say(this._hub, text);
    this._hub.dataset.state = status?.connected === true ? 'good' : 'held';
    const local = (state?.endpoints ?? []).find(one => one.name === 'local');
    const own = status?.hub === 'own';
    say(this._start, own ? trans.__('Start') : trans.__('Try again'));
    this._start.title = own
      ? trans.__(
          'Find the hub, or start one on the Jupyter server’s machine with an endpoint named local'
        )
      : trans.__('Ask the hub now; it is asked again by itself, too');
    this._start.hidden =
      status === null || (status.connected && (!own || local?.state === 'ONLINE'));
  }

  private _does(): IDoes {
    const { requests, front, openPath, pathOf } = this._services;
    return {
      ...this._agents.does,
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
