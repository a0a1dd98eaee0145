/** A page that takes the panel's place: a heading, a way back, what went wrong, and the body. */

import { TranslationBundle } from '@jupyterlab/translation';

import { button, make, say } from '../dom';
import { RequestError } from '../requests';
import { sentence } from '../trouble';

export class Page {
  readonly node: HTMLElement;
  readonly body = make('div', { class: 'fx-page-body' });
  private readonly _title = make('h2');
  private readonly _trouble = make('div', { class: 'fx-page-trouble', role: 'alert' });
  private readonly _log = make('pre', { class: 'fx-page-log', hidden: true });

  constructor(
    protected readonly trans: TranslationBundle,
    title: string,
    private readonly _leave: () => void
  ) {
    const back = button('‹', _leave, { class: 'fx-back', label: trans.__('Back') });
    this._log.tabIndex = 0;
    this._log.setAttribute('aria-label', trans.__('The end of the log'));
    this.node = make(
      'section',
      { class: 'fx-page' },
      make('div', { class: 'fx-page-head' }, back, this._title),
      this._trouble,
      this._log,
      this.body
    );
    this.title = title;
    this.node.addEventListener('keydown', event => {
      if (event.key === 'Escape' && !event.defaultPrevented) {
        _leave();
      }
    });
  }

  set title(text: string) {
    say(this._title, text);
    this.node.setAttribute('aria-label', text);
  }

  /** The page is gone. */
  dispose(): void {
    this.node.remove();
  }

  /** Its work is done. A page that was left before has no say in what is shown now. */
  protected done(): void {
    if (this.node.isConnected) {
      this._leave();
    }
  }

  /** Say what went wrong; nothing: nothing did. */
  protected trouble(error: unknown = null, before = ''): void {
    const text = error === null ? '' : sentence(error);
    say(this._trouble, text === '' ? before : before === '' ? text : `${before} ${text}`);
    const log = error instanceof RequestError ? error.log : [];
    this.log(log);
    if (text !== '' || before !== '') {
      // What was pressed may be far below it.
      this.node.firstElementChild?.scrollIntoView({ block: 'nearest' });
    }
  }

  /** Show the end of a log; nothing: none. */
  protected log(lines: readonly string[]): void {
    say(this._log, lines.join('\n'));
    this._log.hidden = lines.length === 0;
    this._log.scrollTop = this._log.scrollHeight;
  }
}
