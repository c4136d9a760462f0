/** The legend: a row per class with its visibility, colour and share. */

import {element, percent} from "./dom.js";
import {titleOf} from "./models.js";

/** The rows that the keys 1-9 reach. */
const KEYS = 9;

/** @import {PaintStyles} from "../paint/paint_style.js" @import {Model} from "../api/client.js" */

export class Legend {
  #rows = [];
  #model = null;
  #second = null;
  #ranking = [];

  /**
   * @param {HTMLElement} list an ol that receives one row per class
   * @param {PaintStyles} paintStyles
   * @param {() => Model[]} shownModels the models on the stage, which "only this" is about
   */
  constructor(list, paintStyles, shownModels) {
    this.list = list;
    this.paintStyles = paintStyles;
    this.shownModels = shownModels;
    this.order = "share";
    paintStyles.addEventListener("change", () => this.#refresh());
  }

  /**
   * Show the rows of a model, ordered by `ranking` (one share per class). Classes that only the `second` model has
   * follow.
   */
  show(model, ranking, second = null) {
    if (model !== this.#model || second !== this.#second) {
      this.#model = model;
      this.#second = second;
      const names = new Set(model.classes.map(({name}) => name));
      this.#rows = [
        ...model.classes.map((_, id) => this.#rowOf(model, id)),
        ...(second?.classes ?? []).flatMap(({name}, id) => names.has(name) ? [] : [this.#rowOf(second, id)]),
      ];
    }
    this.#ranking = ranking;
    this.sort(this.order);
    this.#refresh();
  }

  clear() {
    this.#model = this.#second = null;
    this.#rows = [];
    this.list.replaceChildren();
  }

  /** Order the rows by "share" or "class". */
  sort(order) {
    this.order = order;
    const rows = [...this.#rows];
    const placeOf = ({model, id}) => model === this.#model ? this.#ranking[id] : -1;
    if (order === "share") rows.sort((one, other) => placeOf(other) - placeOf(one) || one.id - other.id);
    this.list.replaceChildren(...rows.map(({row}) => row));
    rows.forEach(({key}, place) => { key.textContent = place < KEYS ? String(place + 1) : ""; });
  }

  /**
   * Show the current shares, for a video those of the frame, and those of the second model. The order stays.
   */
  setShares(shares, seconds = []) {
    for (const {model, id, row, share, level} of this.#rows) {
      const value = (model === this.#model ? shares : seconds)[id];
      share.textContent = value === undefined ? "" : percent(value);
      level.style.width = `${100 * (value || 0)}%`;
      row.classList.toggle("absent", value === 0);
    }
  }

  /** Show or hide the class in a row, counted from 0; its name, or null where there is no such row. */
  toggleAt(place) {
    const shown = this.#rows.find(({row}) => row === this.list.children[place]);
    if (!shown) return null;
    const {name} = shown.model.classes[shown.id];
    this.paintStyles.show(name, this.paintStyles.isHidden(name));
    return name;
  }

  #rowOf(model, id) {
    const {name, category} = model.classes[id];
    const own = model === this.#model;
    const check = element("input", {
      type: "checkbox", checked: true, on: {change: () => this.paintStyles.show(name, check.checked)},
    });
    const color = element("input", {
      type: "color", "aria-label": `colour of ${name}`, title: `colour of ${name}`,
      on: {input: () => this.paintStyles.recolor(model, id, color.value)},
    });
    const only = element("button", {
      type: "button", class: "only", "aria-label": `only ${name}`,
      on: {click: () => this.paintStyles.showOnly(this.shownModels(), other => other === name)},
    }, "only");
    const share = element("span", {class: "share"});
    const level = element("span", {class: "level", "aria-hidden": "true"});
    const key = element("kbd", {"aria-hidden": "true"});
    const hint = own ? category : `only ${titleOf(model)} knows this class`;
    const label = element("label", {title: hint ?? undefined}, check, element("span", {class: "name"}, name));
    const row = element("li", {data: own ? {class: id} : {second: id}}, color, label, only, key, share, level);
    return {model, id, row, check, color, share, level, key};
  }

  #refresh() {
    for (const {model, id, row, check, color, level} of this.#rows) {
      const {name} = model.classes[id];
      check.checked = !this.paintStyles.isHidden(name);
      row.classList.toggle("hidden-class", !check.checked);
      const hex = this.paintStyles.colorOf(model, id);
      if (color.value !== hex) color.value = hex;
      level.style.backgroundColor = hex;
    }
  }
}
