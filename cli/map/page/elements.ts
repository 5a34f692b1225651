/**
 * Elements of the page by their ids, and new ones.
 *
 * @module
 */

/** The element of index.html with this id, which is of this class. */
export function element<E extends HTMLElement>(id: string, of: new () => E): E {
  const found = document.getElementById(id);
  if (found instanceof of) return found;
  throw new Error(`index.html has no ${of.name} #${id}`);
}

/** A new element; text is never read as HTML. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  content: string | readonly Node[] = '',
  attributes: Readonly<Record<string, string>> = {},
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (typeof content === 'string') made.textContent = content;
  else made.append(...content);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}
