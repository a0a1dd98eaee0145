/** What the rows of the panel have in common. */

import { TranslationBundle } from '@jupyterlab/translation';

import { make } from '../dom';
import { Tasks } from '../tasks';
import { IAgent, IEndpointInfo, ISessionInfo, ITaskInfo } from '../tokens';

/** What rows may do; what fails is said. */
export interface IDoes {
  use(endpoint: string): void;
  /** Start, stop or restart an endpoint of this machine. */
  act(agent: IAgent, action: 'start' | 'stop' | 'restart', item: IEndpointInfo): void;
  configure(agent: IAgent): void;
  log(agent: IAgent): void;
  remove(item: IEndpointInfo, agent: IAgent | null): void;
  openNotebook(kernelId: string): void;
  renew(session: ISessionInfo): void;
  close(session: ISessionInfo): void;
  cancel(task: ITaskInfo): void;
  attach(task: ITaskInfo): void;
  copy(task: ITaskInfo): void;
  download(task: ITaskInfo): void;
}

export interface IContext {
  readonly trans: TranslationBundle;
  readonly does: IDoes;
  readonly tasks: Tasks;
  readonly now: () => number;
  /** Name of the endpoint that the notebook in front uses; empty: unknown. */
  readonly used: () => string;
  readonly hasNotebook: () => boolean;
  readonly pathOf: (kernelId: string) => string;
  /** The endpoint of this machine with this id; null: it is another machine's. */
  readonly agentOf: (endpointId: string) => IAgent | null;
  /** What is being done to an endpoint; empty most of the time. */
  readonly doing: (endpoint: string) => string;
}

export function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}

export function word(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value).slice(0, 300) : '';
}

export class Parts {
  readonly dot = make('span', { class: 'fx-dot' });
  readonly name = make('span', { class: 'fx-name' });
  readonly state = make('span', { class: 'fx-faint fx-row-state' });
  readonly about = make('div', { class: 'fx-faint fx-about' });
  readonly actions = make('span', { class: 'fx-actions' });
  readonly head = make('div', { class: 'fx-row-head' }, this.dot, this.name, this.state);
  readonly node = make('li', { class: 'fx-item' }, this.head, this.about);

  constructor() {
    this.dot.setAttribute('aria-hidden', 'true');
  }
}

/** Texts as the entries of a list, made anew only when they change. */
export function fill(list: HTMLElement, texts: readonly string[]): void {
  const key = texts.join('\n');
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...texts.map(text => make('li', { class: 'fx-faint', text })));
  }
  list.hidden = texts.length === 0;
}
