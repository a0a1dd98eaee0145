/** Makes elements. Texts become text nodes, never markup. */

import { plain } from './format';

export interface IMade {
  class?: string;
  text?: string;
  title?: string;
  label?: string;
  role?: string;
  hidden?: boolean;
}

/** An element; `text` and `title` may come from elsewhere. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  made: IMade = {},
  ...children: Node[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (made.class !== undefined) {
    element.className = made.class;
  }
  if (made.text !== undefined) {
    element.textContent = plain(made.text);
  }
  if (made.title !== undefined) {
    element.title = plain(made.title);
  }
  if (made.label !== undefined) {
    element.setAttribute('aria-label', plain(made.label));
  }
  if (made.role !== undefined) {
    element.setAttribute('role', made.role);
  }
  element.hidden = made.hidden === true;
  element.append(...children);
  return element;
}

/** A button that does something. */
export function button(
  text: string,
  act: () => void,
  made: Omit<IMade, 'text' | 'role'> = {}
): HTMLButtonElement {
  const element = make('button', {
    ...made,
    text,
    class: `fx-button ${made.class ?? ''}`.trim()
  });
  element.type = 'button';
  element.addEventListener('click', event => {
    event.preventDefault();
    event.stopPropagation();
    act();
  });
  return element;
}

/** Set a text if it is another one: screen readers are told only of changes. */
export function say(element: HTMLElement, text: string): void {
  const shown = plain(text);
  if (element.textContent !== shown) {
    element.textContent = shown;
  }
}
