/** An endpoint in the panel: how it is, why it is not ready, who works there; and what can be done about it. */

import { button, make, say } from '../dom';
import { amount, clock, count } from '../format';
import { isRecord } from '../requests';
import { blockState, endpointState } from '../states';
import { IAgent, IEndpointInfo } from '../tokens';
import { IRow } from './rows';
import { fill, IContext, number, Parts, word } from './sections';
import { Rate, Series } from './series';
import { Spark } from './spark';
import { imageWords, workersWords } from './workers';

type Action = 'start' | 'stop' | 'restart' | 'configure' | 'log' | 'remove';

export class EndpointRow implements IRow<IEndpointInfo> {
  private readonly _parts = new Parts();
  private readonly _use: HTMLButtonElement;
  private readonly _more: HTMLButtonElement;
  private readonly _images = make('ul', { class: 'fx-blocks' });
  private readonly _blocks = make('ul', { class: 'fx-blocks' });
  private readonly _charts = make('div', { class: 'fx-charts fx-faint' });
  private readonly _rate = new Rate();
  private readonly _queue = new Series();
  private readonly _sparks = [new Spark(), new Spark()] as const;
  private readonly _figures = [make('span'), make('span')] as const;
  private readonly _buttons: Readonly<Record<Action, HTMLButtonElement>>;
  private _item: IEndpointInfo;

  constructor(
    private readonly _context: IContext,
    item: IEndpointInfo
  ) {
    const { trans, does } = _context;
    this._item = item;
    this._use = button(trans.__('Use'), () => does.use(this._item.name), {
      title: trans.__('Run the remote cells of the notebook in front here')
    });
    this._more = button('', () => this._toggle(), { class: 'fx-more-actions' });
    this._more.setAttribute('aria-expanded', 'false');
    const mine = (act: (agent: IAgent) => void) => (): void => {
      const agent = this._agent;
      if (agent !== null) {
        act(agent);
      }
    };
    this._buttons = {
      start: button(
        trans.__('Start'),
        mine(agent => does.act(agent, 'start', this._item))
      ),
      stop: button(
        trans.__('Stop'),
        mine(agent => does.act(agent, 'stop', this._item))
      ),
      restart: button(
        trans.__('Restart'),
        mine(agent => does.act(agent, 'restart', this._item)),
        {
          title: trans.__('Stop its agent and start it again: changed settings apply then')
        }
      ),
      configure: button(trans.__('Configure'), mine(does.configure)),
      log: button(trans.__('Log'), mine(does.log)),
      remove: button(trans.__('Delete'), () => does.remove(this._item, this._agent))
    };
    const { start, ...others } = this._buttons;
    this._parts.actions.append(...Object.values(others));
    this._parts.actions.hidden = true;
    this._parts.head.append(start, this._use, this._more);
    for (const which of [0, 1] as const) {
      const [spark, figure] = [this._sparks[which].node, this._figures[which]];
      this._charts.append(make('span', { class: 'fx-chart' }, spark, figure));
    }
    const { node, actions } = this._parts;
    node.append(this._charts, this._images, this._blocks, actions);
  }

  get node(): HTMLElement {
    return this._parts.node;
  }

  update(item: IEndpointInfo): void {
    const { trans, used, hasNotebook, doing } = this._context;
    const fresh = item !== this._item || this._queue.points.length === 0;
    this._item = item;
    const online = item.state === 'ONLINE';
    const ready = online && item.why === '';
    const tone = online || item.state === 'UNREACHABLE' ? 'held' : 'off';
    this.node.dataset.state = ready ? 'good' : tone;
    say(this._parts.name, item.name);
    this._parts.name.title = item.name.slice(0, 300);
    const now = doing(item.name);
    say(this._parts.state, now || (ready ? trans.__('ready') : endpointState(item.state, trans)));
    const mine = used() === item.name;
    this._use.disabled = mine;
    this._use.setAttribute('aria-pressed', String(mine));
    say(this._use, mine ? trans.__('In use') : trans.__('Use'));
    this._more.setAttribute('aria-label', trans.__('What can be done about %1', item.name));
    say(this._parts.about, [this._why(online), ...this._workers()].filter(Boolean).join(' · '));
    const off = this._off;
    this._buttons.start.hidden = !off;
    this._buttons.start.disabled = now !== '';
    // What has to be started first is offered to be.
    this._use.hidden = !hasNotebook() || (off && !mine);
    fill(this._images, imageWords(item, trans));
    fill(this._blocks, this._blockTexts());
    this._drawCharts(fresh);
    this._drawActions(now !== '');
  }

  /** Whether it is one of this machine that does not run. */
  private get _off(): boolean {
    const agent = this._agent;
    return agent !== null && agent.ssh === '' && !agent.running;
  }

  private get _agent(): IAgent | null {
    return this._context.agentOf(this._item.endpoint_id);
  }

  private _why(online: boolean): string {
    const agent = this._agent;
    if (online || agent === null || agent.running) {
      return this._item.why;
    }
    const { trans } = this._context;
    const ended = trans.__('its agent does not run');
    // What it did before it was stopped is in its log; what it died of is said here.
    const last = / (INFO|DEBUG) /.test(agent.last) ? '' : agent.last;
    return last === '' ? ended : `${ended}: ${last}`;
  }

  private _workers(): string[] {
    const { trans } = this._context;
    const { queued, leased, running } = this._item;
    const words = workersWords(this._item, trans);
    const backlog = queued + leased;
    if (backlog > 0) {
      words.push(trans._n('%2 task waits', '%2 tasks wait', backlog, count(backlog, trans)));
    }
    if (running > 0) {
      words.push(trans._n('%2 task runs', '%2 tasks run', running, count(running, trans)));
    }
    return words;
  }

  private _blockTexts(): string[] {
    const { trans, now } = this._context;
    const { blocks, provider } = this._item.info;
    const all: unknown[] = Array.isArray(blocks) ? blocks : [];
    return all
      .filter(isRecord)
      .slice(0, 50)
      .map(block => {
        const ends = number(block.ends);
        const nodes = number(block.nodes);
        const words = [
          `${word(provider) || trans.__('block')} ${word(block.job)}`,
          blockState(word(block.state), trans),
          nodes > 1 ? trans.__('%1 nodes', nodes) : '',
          word(block.reason),
          ends > 0 ? trans.__('until %1', clock(ends, now())) : ''
        ];
        return words.filter(Boolean).join(' · ');
      });
  }

  private _drawCharts(fresh: boolean): void {
    const { trans, now } = this._context;
    const at = now();
    const backlog = this._item.queued + this._item.leased;
    if (fresh) {
      this._rate.push(at, number(this._item.finished));
      this._queue.push(at, backlog);
    }
    const rate = this._rate.series;
    this._charts.hidden = !rate.some && !this._queue.some;
    if (!this._charts.hidden) {
      this._sparks[0].draw(rate.points, at);
      this._sparks[1].draw(this._queue.points, at);
      say(this._figures[0], trans.__('%1 tasks/s', amount(Math.round(rate.last * 10) / 10, trans)));
      say(this._figures[1], trans.__('%1 waiting', count(backlog, trans)));
    }
  }

  private _drawActions(busy: boolean): void {
    if (this._parts.actions.hidden) {
      return;
    }
    const agent = this._agent;
    const here = agent !== null && agent.ssh === '';
    const shown: Readonly<Record<Exclude<Action, 'start'>, boolean>> = {
      stop: here && agent.running,
      restart: here && agent.running,
      configure: here,
      log: here,
      remove: this._item.name !== 'local' || !here
    };
    for (const [name, is] of Object.entries(shown) as [keyof typeof shown, boolean][]) {
      this._buttons[name].hidden = !is;
      this._buttons[name].disabled = busy;
    }
  }

  private _toggle(): void {
    const { actions } = this._parts;
    actions.hidden = !actions.hidden;
    this._more.setAttribute('aria-expanded', String(!actions.hidden));
    this._drawActions(this._context.doing(this._item.name) !== '');
  }
}
