/** Create elements; texts are always set as text, so that a hostile name stays a name. */

/**
 * Create an element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {{[name: string]: any}} [set] properties of the element; `class`, `data` (an object), `on` (listeners) and attributes with a
 *   dash or without a property of that name are set as such; what is undefined, and attributes that are null or false, are left out
 * @param {...(Node|string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, set = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(set)) {
    if (value === undefined) continue;
    if (key === "class") made.className = value;
    else if (key === "data") Object.assign(made.dataset, value);
    else if (key === "on") for (const [type, listener] of Object.entries(value)) made.addEventListener(type, listener);
    else if (key in made) made[key] = value;
    else if (value !== null && value !== false) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/**
 * Get the element with this id; index.html says of which kind it is.
 * @param {string} id
 * @returns {any}
 */
export const byId = id => document.getElementById(id);

/** Format a share: "12.3 %", "<0.1 %", "0 %". */
export function percent(share) {
  if (!(share > 0)) return "0 %";
  if (share < 0.001) return "<0.1 %";
  return `${(100 * share).toFixed(1)} %`;
}
