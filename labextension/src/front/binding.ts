/**
 * One notebook and the endpoint of its remote cells.
 *
 * The kernel knows best: it is asked when it is there and after cells that could have changed it. What was chosen by mouse
 * is kept in the notebook's metadata, and a kernel that is new is told. A kernel that has our magics loaded is never told
 * anything unasked: somebody chose there since.
 */

import { NotebookPanel } from '@jupyterlab/notebook';
import { Kernel, KernelMessage } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';

import { isRecord } from '../requests';
import {
  choose,
  environ,
  fx,
  isName,
  loads,
  readWhere,
  refusal,
  unlessLoaded,
  WHERE
} from './python';

/** Key in a notebook's metadata: {endpoint: NAME}. */
export const METADATA = 'jupyter_fx';

export interface IBindingServices {
  readonly trans: TranslationBundle;
  /** The endpoint of notebooks that have none of their own; empty: the hub's. */
  readonly usual: () => string;
  readonly changed: () => void;
  /** A notebook's own endpoint could not be chosen. */
  readonly trouble: (message: string) => void;
}

export class Binding {
  /** What the kernel says; empty while it has not. */
  private _told = '';
  private _answered = false;
  private _python = true;
  private _pending = '';
  private _new = true;
  private _asking = false;

  constructor(
    readonly panel: NotebookPanel,
    private readonly _services: IBindingServices
  ) {
    const context = panel.sessionContext;
    context.kernelChanged.connect(this._renewed, this);
    context.statusChanged.connect(this._status, this);
    this._status();
  }

  dispose(): void {
    this.panel.sessionContext.kernelChanged.disconnect(this._renewed, this);
    this.panel.sessionContext.statusChanged.disconnect(this._status, this);
  }

  get kernel(): Kernel.IKernelConnection | null {
    return this.panel.sessionContext.session?.kernel ?? null;
  }

  /** What the kernel says, else what the notebook's file says; empty: unknown. */
  get endpoint(): string {
    return this._told || this.bound;
  }

  /** Whether nothing better than `endpoint` is to be expected: the kernel has said what it uses, or there is none. */
  get settled(): boolean {
    return this._answered || this.kernel === null;
  }

  /** Whether its kernel can have remote cells; true until it is known. */
  get possible(): boolean {
    return this._python;
  }

  /** What is being chosen; empty most of the time. */
  get pending(): string {
    return this._pending;
  }

  /** The notebook's own endpoint, as its file has it. */
  get bound(): string {
    const found: unknown = this.panel.content.model?.getMetadata(METADATA);
    return isRecord(found) && isName(found.endpoint) ? found.endpoint : '';
  }

  /** Have its remote cells run there from now on. Throws a sentence when that does not work. */
  async use(endpoint: string): Promise<void> {
    const { trans } = this._services;
    if (!isName(endpoint)) {
      throw new Error(trans.__('this is no endpoint’s name'));
    }
    this._pending = endpoint;
    this._services.changed();
    try {
      if (this.kernel !== null) {
        await this.run(this._choice(endpoint));
        this._told = endpoint;
      }
      this._bind(endpoint);
    } finally {
      this._pending = '';
      this._services.changed();
    }
  }

  /** Have the kernel run this quietly. Throws a sentence when it fails. */
  async run(code: string): Promise<void> {
    const { kernel } = this;
    const { trans } = this._services;
    if (kernel === null) {
      throw new Error(trans.__('this notebook has no kernel: start one first'));
    }
    if ((await kernel.info).language_info.name !== 'python') {
      throw new Error(trans.__('remote cells need a Python kernel'));
    }
    const reply = await kernel.requestExecute({ code, silent: true, store_history: false }).done;
    if (reply.content.status !== 'ok') {
      throw new Error(refusal(reply.content, trans));
    }
  }

  /** Ask the kernel again: a cell may have chosen. */
  ask(): void {
    void this._sync(false);
  }

  private _renewed(): void {
    this._told = '';
    this._answered = false;
    this._python = true;
    this._new = true;
    this._services.changed();
    this._status();
  }

  /**
   * A new kernel is asked as soon as it takes messages (they wait while it starts): a status to wait for may never come, as the
   * server tells none of a kernel to which nobody but JupyterLab itself has said anything.
   */
  private _status(): void {
    const status = this.kernel?.status ?? 'dead';
    if (status === 'restarting' || status === 'autorestarting') {
      this._told = '';
      this._answered = false;
      this._new = true;
      this._services.changed();
    } else if (this._new && !this._asking && status !== 'dead' && status !== 'terminating') {
      this._new = false;
      void this._sync(true);
    }
  }

  /**
   * `tell`: it may be a new kernel, which does not know what was chosen. It is told and asked in one message: cells that are
   * run at once after its start come after that.
   */
  private async _sync(tell: boolean): Promise<void> {
    const { kernel } = this;
    if (kernel === null || this._asking) {
      return;
    }
    this._asking = true;
    let heard = false;
    try {
      this._python = (await kernel.info).language_info.name === 'python';
      if (this._python) {
        const news = tell ? unlessLoaded(this._news()) : '';
        let { content } = await this._where(kernel, news);
        if (content.status === 'error' && news !== '') {
          this._services.trouble(refusal(content, this._services.trans));
          ({ content } = await this._where(kernel, ''));
        }
        this._told = this._read(content) ?? this._told;
      }
      heard = true;
    } catch {
      // A kernel that goes meanwhile, or a cell before ours that failed: asked again at its next change.
    } finally {
      this._asking = false;
      if (this._new) {
        // Another kernel came meanwhile.
        this._status();
      } else {
        this._answered = true;
        this._new = tell && !heard;
      }
      this._services.changed();
    }
  }

  /** Have the kernel do this, and say where it is then. */
  private async _where(
    kernel: Kernel.IKernelConnection,
    code: string
  ): Promise<KernelMessage.IExecuteReplyMsg> {
    const asked = { code, silent: true, store_history: false, user_expressions: { fx: WHERE } };
    const reply = await kernel.requestExecute(asked).done;
    if (reply.content.status !== 'ok' && reply.content.status !== 'error') {
      throw new Error(reply.content.status);
    }
    return reply;
  }

  private _read(content: KernelMessage.IExecuteReplyMsg['content']): string | null {
    const found: unknown = content.status === 'ok' ? content.user_expressions.fx : null;
    const data = isRecord(found) ? found.data : null;
    return readWhere(isRecord(data) ? data['text/plain'] : null);
  }

  /** What a new kernel is told: the notebook's own endpoint, else the usual one; empty: nothing. */
  private _news(): string {
    const usual = this._services.usual();
    return this.bound !== '' ? this._choice(this.bound) : isName(usual) ? environ(usual) : '';
  }

  /** A notebook that loads our magics itself is left to do so. */
  private _choice(endpoint: string): string {
    const cells = this.panel.content.model?.sharedModel.cells ?? [];
    const itself = cells.some(cell => cell.cell_type === 'code' && loads(cell.getSource()));
    return itself ? choose(endpoint) : fx(`use ${endpoint}`);
  }

  private _bind(endpoint: string): void {
    if (this.bound !== endpoint) {
      this.panel.content.model?.setMetadata(METADATA, { endpoint });
    }
  }
}
