/** Makes a notebook whose remote cells run on a given endpoint. */

import { JupyterFrontEnd } from '@jupyterlab/application';
import { InputDialog } from '@jupyterlab/apputils';
import { NotebookPanel } from '@jupyterlab/notebook';
import { TranslationBundle } from '@jupyterlab/translation';

import { METADATA } from './front/binding';
import { IFxFront, IFxLive } from './tokens';

const CREATE = 'notebook:create-new';

export class NewNotebook {
  constructor(
    private readonly _app: JupyterFrontEnd,
    private readonly _front: IFxFront,
    private readonly _live: IFxLive,
    private readonly _trans: TranslationBundle
  ) {}

  /** Notebook 7 opens one page for each notebook: there is nothing to make one in. */
  get possible(): boolean {
    return this._app.commands.hasCommand(CREATE);
  }

  /** `endpoint` may be empty: it is asked for. Fails with a sentence. */
  async make(endpoint: string, cwd: string): Promise<void> {
    const name = endpoint || (await this._choose());
    if (name === '') {
      return;
    }
    const options = cwd === '' ? {} : { cwd };
    const made: unknown = await this._app.commands.execute(CREATE, {
      ...options,
      kernelName: await this._kernel(),
      activate: true
    });
    if (!(made instanceof NotebookPanel)) {
      return;
    }
    await made.context.ready;
    // Before its kernel is there: whoever tells kernels finds it.
    made.content.model?.setMetadata(METADATA, { endpoint: name });
    await made.sessionContext.ready;
    if (this._front.endpoint(this._live.state, made) !== name) {
      await this._front.use(name, made);
    }
    await made.context.save();
  }

  private async _choose(): Promise<string> {
    const names = (this._live.state?.endpoints ?? []).map(one => one.name).slice(0, 500);
    if (names.length === 0) {
      throw new Error(
        this._trans.__('no endpoint is known yet: open the panel of endpoints and start one')
      );
    }
    const answer = await InputDialog.getItem({
      title: this._trans.__('New notebook on which endpoint?'),
      label: this._trans.__('Endpoint'),
      items: names,
      okLabel: this._trans.__('Create')
    });
    return answer.button.accept ? (answer.value ?? '') : '';
  }

  /** The default kernel if it is Python, else the first that is. */
  private async _kernel(): Promise<string> {
    const { kernelspecs } = this._app.serviceManager;
    await kernelspecs.ready;
    const specs = kernelspecs.specs;
    const found = Object.values(specs?.kernelspecs ?? {}).filter(
      spec => spec?.language === 'python'
    );
    const name = found.find(spec => spec?.name === specs?.default)?.name ?? found[0]?.name;
    if (name === undefined) {
      throw new Error(
        this._trans.__(
          'remote cells need a Python kernel, and this server has none: install ipykernel'
        )
      );
    }
    return name;
  }
}
