/** Keyboard shortcuts, and the switch that turns them off. */

const PLACE = "streetlab.shortcuts";

const MOVES = /^(Arrow|Home|End|Page)/;

/** True if the focused element itself uses the key. */
export function isTaken(key, target) {
  if (target.closest("select, textarea, summary, dialog[open]")) return true;
  if (target.matches("input[type=range], input[type=radio], [role=slider]")) return MOVES.test(key);
  return target.matches("input:not([type=checkbox], [type=color], [type=file])");
}

/** True unless a person turned the shortcuts off. */
export function keysAreOn() {
  try {
    return localStorage.getItem(PLACE) !== "off";
  } catch {
    return true;
  }
}

/**
 * @param {Object<string, (event: KeyboardEvent) => void>} actions by `event.key`
 * @param {HTMLInputElement} enabled a checkbox: off, the page leaves all keys to the browser
 */
export function listenToKeys(actions, enabled) {
  enabled.checked = keysAreOn();
  enabled.addEventListener("change", () => {
    try {
      localStorage.setItem(PLACE, enabled.checked ? "on" : "off");
    } catch {
      // kept for this session only
    }
  });
  document.addEventListener("keydown", event => {
    if (!enabled.checked || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = actions[event.key];
    if (!action || isTaken(event.key, event.target)) return;
    event.preventDefault();
    action(event);
  });
}
