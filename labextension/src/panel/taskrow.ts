/** A task in the panel: one line, and on demand what it prints and what can be done about it. */

import { LogPane } from '../card/logpane';
import { ended, stateOf } from '../card/read';
import { button, say } from '../dom';
import { duration } from '../format';
import { taskState } from '../states';
import { LiveTask } from '../tasks';
import { ITaskInfo } from '../tokens';
import { IRow } from './rows';
import { IContext, number, Parts, word } from './sections';

export class TaskRow implements IRow<ITaskInfo> {
  private readonly _parts = new Parts();
  private readonly _cancel: HTMLButtonElement;
  private readonly _attach: HTMLButtonElement;
  private _pane: LogPane | null = null;
  private _task: LiveTask | null = null;
  private _item: ITaskInfo;

  constructor(
    private readonly _context: IContext,
    item: ITaskInfo
  ) {
    const { trans, does } = _context;
    this._item = item;
    this._attach = button(trans.__('Attach'), () => does.attach(this._item), {
      title: trans.__('Bring its output and result into the notebook in front')
    });
    const copy = button(trans.__('Copy id'), () => does.copy(this._item));
    this._cancel = button(trans.__('Cancel'), () => does.cancel(this._item));
    const { head, actions, node } = this._parts;
    actions.append(this._attach, copy, this._cancel);
    actions.hidden = true;
    head.setAttribute('role', 'button');
    head.setAttribute('aria-expanded', 'false');
    head.tabIndex = 0;
    head.addEventListener('click', () => this._toggle());
    head.addEventListener('keydown', event => {
      if (event.key === 'Enter' || event.key === ' ') {
        event.preventDefault();
        this._toggle();
      }
    });
    node.append(actions);
  }

  get node(): HTMLElement {
    return this._parts.node;
  }

  update(item: ITaskInfo): void {
    const { trans, now, hasNotebook, pathOf } = this._context;
    this._item = item;
    const state = stateOf(item.state) ?? 'sent';
    const over = ended(state);
    const bad = over && state !== 'succeeded' && state !== 'cancelled';
    const tone =
      state === 'succeeded' ? 'good' : state === 'running' ? 'busy' : bad ? 'bad' : 'held';
    this.node.dataset.state = item.shown === 'UNREACHABLE' ? 'held' : tone;
    say(this._parts.name, item.name || trans.__('task %1', item.task_id.slice(-8)));
    const took = over ? item.finished - item.submitted : now() - item.submitted;
    say(this._parts.state, `${taskState(item.shown, trans)} · ${duration(took, trans)}`);
    const cell = number(item.origin.cell);
    const from = pathOf(word(item.origin.kernel_id)).split('/').at(-1) ?? '';
    const where = [item.endpoint, from, cell > 0 ? `In[${cell}]` : ''];
    const why = item.error?.message ?? item.why;
    say(this._parts.about, [...where, why.slice(0, 300)].filter(Boolean).join(' · '));
    this._cancel.hidden = over;
    this._attach.hidden = !hasNotebook();
  }

  dispose(): void {
    if (this._task !== null) {
      this._task.changed.disconnect(this._draw, this);
      this._context.tasks.leave(this._task);
      this._task = null;
    }
    this._pane?.dispose();
    this._pane?.node.remove();
    this._pane = null;
    this._parts.actions.hidden = true;
    this._parts.head.setAttribute('aria-expanded', 'false');
  }

  private _toggle(): void {
    if (this._pane !== null) {
      this.dispose();
      return;
    }
    const { trans, does, tasks, now } = this._context;
    this._pane = new LogPane(trans, () => does.download(this._item));
    this._parts.node.append(this._pane.node);
    this._parts.actions.hidden = false;
    this._parts.head.setAttribute('aria-expanded', 'true');
    this._task = tasks.take({
      version: 1,
      kind: 'call',
      task_id: this._item.task_id,
      state: stateOf(this._item.state) ?? 'sent',
      submitted: this._item.submitted,
      as_of: now(),
      elapsed: 0
    });
    this._task.changed.connect(this._draw, this);
    this._task.follow(true);
    this._draw();
  }

  private _draw(): void {
    const { trans } = this._context;
    if (this._task !== null && this._pane !== null) {
      const over = this._task.complete;
      const nothing = over ? trans.__('It printed nothing.') : trans.__('Nothing printed yet.');
      this._pane.update(this._task.lines, this._task.missing || nothing);
    }
  }
}
