/** What is said to a notebook's kernel, and what it answers. Everything here is quiet: no history, no output. */

import { KernelMessage } from '@jupyterlab/services';
import { TranslationBundle } from '@jupyterlab/translation';

const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

/** Whether this can be an endpoint's name. Anything else never gets into code. */
export function isName(text: unknown): text is string {
  return typeof text === 'string' && NAME.test(text);
}

/** How a remote cell begins. Translated texts take it as an argument: in them `%%` is a single sign. */
export const REMOTE = '%%remote';

export const LOAD = 'get_ipython().extension_manager.load_extension("jupyter_fx")';

/** Load our magics and carry out `%fx WORDS`. */
export function fx(words: string): string {
  return `${LOAD}\nget_ipython().run_line_magic("fx", "${words}")`;
}

const LOADED = '"FxMagics" in get_ipython().magics_manager.registry';

/** Choose the endpoint: at once if our magics are loaded, else for when they are. */
export function choose(endpoint: string): string {
  return `get_ipython().run_line_magic("fx", "use ${endpoint}") if ${LOADED} else ${environ(endpoint)}`;
}

/** The same lines for a kernel that may be new: one that has our magics loaded is left alone. */
export function unlessLoaded(code: string): string {
  return code === '' ? '' : `if not (${LOADED}):\n${code.replace(/^/gm, '    ')}`;
}

/** Whether a cell loads our magics itself: IPython complains when it is done twice. */
export function loads(source: string): boolean {
  return /^\s*%(?:re)?load_ext\s+jupyter_fx\b/m.test(source);
}

/** The endpoint of remote cells, for when our magics are loaded: costs nothing and asks no hub. */
export function environ(endpoint: string): string {
  return `__import__("os").environ.update(JUPYTER_FX_ENDPOINT="${endpoint}")`;
}

/** The name of the endpoint; empty: none was chosen. Loads nothing and asks no hub. */
export const WHERE =
  '(lambda magics: magics.notebook.known_endpoint if magics else' +
  ' __import__("os").environ.get("JUPYTER_FX_ENDPOINT", ""))' +
  '(get_ipython().magics_manager.registry.get("FxMagics"))';

/** The answer to `WHERE`; null when it is none. */
export function readWhere(repr: unknown): string | null {
  const found = typeof repr === 'string' ? /^'([a-z0-9-]{0,63})'$/.exec(repr) : null;
  return found?.[1] ?? null;
}

/** Why a kernel could not do it, in a sentence that says what helps. */
export function refusal(
  content: KernelMessage.IExecuteReplyMsg['content'],
  trans: TranslationBundle
): string {
  if (content.status === 'error' && content.ename === 'ModuleNotFoundError') {
    return trans.__(
      'jupyter-fx is not installed where this notebook’s kernel runs: `%pip install jupyter-fx` there, then restart it'
    );
  }
  if (content.status === 'error' && content.ename === 'KeyboardInterrupt') {
    return trans.__('the kernel was interrupted');
  }
  if (content.status === 'error' && content.evalue !== '') {
    return content.evalue;
  }
  return trans.__(
    'the notebook’s kernel did not do it: a cell before it failed or it was restarted'
  );
}
