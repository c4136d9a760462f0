/** The classes: shown or hidden, their colours, the share that each takes. */

import {element, percent} from "./dom.js";

/** The rows that the keys 1-9 reach. */
const KEYS = 9;

export class Legend {
  #rows = [];
  #model = null;
  #ranking = [];

  /**
   * @param {HTMLElement} list an ol that receives one row per class
   * @param {Looks} looks
   * @param {() => object[]} shownModels the models on the stage, which "only this" is about
   */
  constructor(list, looks, shownModels) {
    this.list = list;
    this.looks = looks;
    this.shownModels = shownModels;
    this.order = "share";
    looks.addEventListener("change", () => this.#refresh());
  }

  /** The rows of a model; `ranking` (one share per class) orders them. */
  show(model, ranking) {
    if (model !== this.#model) {
      this.#model = model;
      this.#rows = model.classes.map((_, id) => this.#rowOf(id));
    }
    this.#ranking = ranking;
    this.sort(this.order);
    this.#refresh();
  }

  clear() {
    this.#model = null;
    this.#rows = [];
    this.list.replaceChildren();
  }

  /** Order the rows by "share" or "class". */
  sort(order) {
    this.order = order;
    const rows = [...this.#rows];
    if (order === "share") rows.sort((one, other) => this.#ranking[other.id] - this.#ranking[one.id] || one.id - other.id);
    this.list.replaceChildren(...rows.map(({row}) => row));
    rows.forEach(({key}, place) => { key.textContent = place < KEYS ? String(place + 1) : ""; });
  }

  /** The shares to read now, for a video those of the frame; none where nothing is shown. The order stays. */
  setShares(shares) {
    for (const {id, row, share, level} of this.#rows) {
      share.textContent = id in shares ? percent(shares[id]) : "";
      level.style.width = `${100 * (shares[id] || 0)}%`;
      row.classList.toggle("absent", shares[id] === 0);
    }
  }

  /** Show or hide the class in a row, counted from 0; its name, or null where there is no such row. */
  toggleAt(place) {
    const row = this.list.children[place];
    if (!row) return null;
    const {name} = this.#model.classes[row.dataset.class];
    this.looks.show(name, this.looks.isHidden(name));
    return name;
  }

  #rowOf(id) {
    const {name, category} = this.#model.classes[id];
    const check = element("input", {
      type: "checkbox", checked: true, on: {change: () => this.looks.show(name, check.checked)},
    });
    const color = element("input", {
      type: "color", "aria-label": `colour of ${name}`, title: `colour of ${name}`,
      on: {input: () => this.looks.recolor(this.#model, id, color.value)},
    });
    const only = element("button", {
      type: "button", class: "only", "aria-label": `only ${name}`,
      on: {click: () => this.looks.showOnly(this.shownModels(), other => other === name)},
    }, "only");
    const share = element("span", {class: "share"});
    const level = element("span", {class: "level", "aria-hidden": "true"});
    const key = element("kbd", {"aria-hidden": "true"});
    const label = element("label", {title: category ?? undefined}, check, element("span", {class: "name"}, name));
    const row = element("li", {data: {class: id}}, color, label, only, key, share, level);
    return {id, row, check, color, share, level, key};
  }

  #refresh() {
    for (const {id, row, check, color, level} of this.#rows) {
      const {name} = this.#model.classes[id];
      check.checked = !this.looks.isHidden(name);
      row.classList.toggle("hidden-class", !check.checked);
      const hex = this.looks.colorOf(this.#model, id);
      if (color.value !== hex) color.value = hex;
      level.style.backgroundColor = hex;
    }
  }
}
