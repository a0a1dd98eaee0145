/** The panel: endpoints, sessions and tasks as they are now, and what can be done about them. */

import { Clipboard, Dialog, Notification, showDialog } from '@jupyterlab/apputils';
import { TranslationBundle } from '@jupyterlab/translation';
import { IDisposable } from '@lumino/disposable';
import { Message } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';

import { ended, stateOf } from '../card/read';
import { button, make, say } from '../dom';
import { clock } from '../format';
import { save } from '../save';
import { Tasks } from '../tasks';
import { IEndpointInfo, IFxRequests, ISessionInfo, ITaskInfo } from '../tokens';
import { Front } from './notebook';
import { Rows } from './rows';
import { EndpointRow, IContext, IDoes, SessionRow } from './sections';
import { TaskRow } from './taskrow';

/** Tasks that are drawn at first, and more at each click. */
const TASKS = 50;
const now = (): number => Date.now() / 1000;

export interface IPanelServices {
  readonly tasks: Tasks;
  readonly requests: IFxRequests;
  readonly front: Front;
  readonly trans: TranslationBundle;
  readonly pathOf: (kernelId: string) => string;
  readonly openPath: (path: string) => void;
}

class Section {
  readonly list = make('ul', { class: 'fx-list' });
  readonly empty = make('p', { class: 'fx-empty' });
  readonly count = make('span', { class: 'fx-faint' });
  readonly extra = make('span', { class: 'fx-actions' });
  readonly node: HTMLElement;

  constructor(title: string) {
    const head = make(
      'div',
      { class: 'fx-section-head' },
      make('h3', { text: title }),
      this.count,
      this.extra
    );
    this.node = make('section', { class: 'fx-section', label: title }, head, this.empty, this.list);
  }

  update(count: number, empty: string): void {
    say(this.count, count > 0 ? String(count) : '');
    say(this.empty, count > 0 ? '' : empty);
    this.empty.hidden = count > 0;
  }
}

export class FxPanel extends Widget {
  private readonly _trans: TranslationBundle;
  private readonly _hub = make('div', { class: 'fx-hub', role: 'status' });
  private readonly _start: HTMLButtonElement;
  private readonly _more: HTMLButtonElement;
  private readonly _only = make('input');
  private readonly _sections: Record<'endpoints' | 'sessions' | 'tasks', Section>;
  private readonly _endpoints: Rows<IEndpointInfo>;
  private readonly _sessions: Rows<ISessionInfo>;
  private readonly _tasks: Rows<ITaskInfo>;
  private _most = TASKS;
  private _looking: IDisposable | null = null;
  private _timer = 0;

  constructor(private readonly _services: IPanelServices) {
    super();
    this.addClass('fx-panel');
    const trans = (this._trans = _services.trans);
    const context: IContext = {
      trans,
      does: this._does(),
      tasks: _services.tasks,
      now,
      used: () => _services.front.endpoint(_services.tasks.live.state),
      hasNotebook: () => _services.front.panel !== null,
      pathOf: _services.pathOf
    };
    this._sections = {
      endpoints: new Section(trans.__('Endpoints')),
      sessions: new Section(trans.__('Sessions')),
      tasks: new Section(trans.__('Tasks'))
    };
    this._start = button(trans.__('Start'), () => void this._try(_services.requests.start()), {
      class: 'fx-start',
      title: trans.__(
        'Find the hub, or start one on the Jupyter server’s machine with an endpoint named local'
      )
    });
    this._more = button(trans.__('Show more'), () => this._showMore(), { class: 'fx-link' });
    this._only.type = 'checkbox';
    this._only.addEventListener('change', () => this._draw());
    this._sections.tasks.extra.append(
      make(
        'label',
        { class: 'fx-faint' },
        this._only,
        document.createTextNode(trans.__('active only'))
      )
    );
    this._sections.tasks.node.append(this._more);
    const { endpoints, sessions, tasks } = this._sections;
    this._endpoints = new Rows(
      endpoints.list,
      item => item.endpoint_id,
      () => new EndpointRow(context)
    );
    this._sessions = new Rows(
      sessions.list,
      item => item.session_id,
      item => new SessionRow(context, item)
    );
    this._tasks = new Rows(
      tasks.list,
      item => item.task_id,
      item => new TaskRow(context, item)
    );
    const head = make('div', { class: 'fx-panel-head' }, this._hub, this._start);
    this.node.append(head, endpoints.node, sessions.node, tasks.node);
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
    this._timer = window.setInterval(() => this._draw(), 1000);
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

  private _draw(): void {
    if (!this.isVisible) {
      return;
    }
    const { state, status } = this._services.tasks.live;
    const trans = this._trans;
    this._drawHub();
    const endpoints = state?.endpoints ?? [];
    const sessions = state?.sessions ?? [];
    const all = state?.tasks ?? [];
    const wanted = this._only.checked
      ? all.filter(task => !ended(stateOf(task.state) ?? 'sent'))
      : all;
    const wait = state === null && status?.connected === true ? trans.__('Looking …') : '';
    this._sections.endpoints.update(
      endpoints.length,
      wait ||
        trans.__(
          'No endpoint yet: Start runs one on this machine; `jupyter fx endpoint add` brings a cluster.'
        )
    );
    this._sections.sessions.update(
      sessions.length,
      wait || trans.__('No session is open. The first %%remote cell of a notebook opens one.')
    );
    this._sections.tasks.update(
      wanted.length,
      wait || trans.__('No tasks. Put %%remote on a cell’s first line and run it.')
    );
    this._endpoints.update(endpoints);
    this._sessions.update(sessions);
    this._tasks.update(wanted.slice(0, this._most));
    this._more.hidden = wanted.length <= this._most;
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

  private _showMore(): void {
    this._most += TASKS * 4;
    this._draw();
  }

  private _does(): IDoes {
    const { requests, front, openPath, pathOf } = this._services;
    return {
      use: endpoint => void this._try(front.use(endpoint)),
      openNotebook: kernelId => openPath(pathOf(kernelId)),
      renew: session => void this._try(requests.renewSession(session.session_id)),
      close: session => void this._close(session),
      cancel: task => void this._try(requests.cancel(task.task_id, 'cancel')),
      attach: task => void this._try(front.runBelow(`%fx attach ${task.task_id}`)),
      copy: task => Clipboard.copyToSystem(task.task_id),
      download: task => void this._try(save(requests, task.task_id))
    };
  }

  private async _close(session: ISessionInfo): Promise<void> {
    const sure = await showDialog({
      title: this._trans.__('Close the session?'),
      body: this._trans.__('Its variables are lost; cells of it that wait are cancelled.'),
      buttons: [Dialog.cancelButton(), Dialog.warnButton({ label: this._trans.__('Close') })]
    });
    if (sure.button.accept) {
      await this._try(this._services.requests.closeSession(session.session_id, false));
    }
  }

  private async _try(work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (error) {
      Notification.error(error instanceof Error ? error.message : String(error), {
        autoClose: 8000
      });
    }
    this._draw();
  }
}
