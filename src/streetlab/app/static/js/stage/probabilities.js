/** Bars of class probabilities of a photo or frame; a class can be chosen to show its map. */

import {element, percent} from "../controls/dom.js";

/** @import {Model} from "../api/client.js" */

export class ProbabilityBars {
  #rows;

  /**
   * @param {Model} model with its classes
   * @param {{calibrated: boolean, mapped: Set<number>, onChoose: (id: number) => void}} options true if the
   *   probabilities are calibrated; the classes that have a map; called with the class whose map is chosen
   */
  constructor(model, {calibrated, mapped, onChoose}) {
    this.model = model;
    this.verdict = element("p", {class: "verdict"});
    this.#rows = model.classes.map(({name, color, criterion}, id) => {
      const fill = element("i", {class: "fill"});
      const share = element("span", {class: "share"});
      const swatch = element("i", {class: "swatch"});
      swatch.style.background = fill.style.background = color;
      const parts = [element("span", {class: "name"}, swatch, name), share, element("span", {class: "track", "aria-hidden": "true"}, fill)];
      const head = mapped.has(id)
        ? element("button", {type: "button", class: "bar", title: `show what speaks for ${name}`, on: {click: () => onChoose(id)}}, ...parts)
        : element("div", {class: "bar"}, ...parts);
      return {head, fill, share, row: element("li", {data: {class: id}}, head, ...criterion ? [element("p", {class: "quiet"}, criterion)] : [])};
    });
    this.box = element("div", {class: "bars"}, this.verdict, element("ol", {}, ...this.#rows.map(({row}) => row)),
      element("p", {class: "quiet"}, calibrated
        ? "Calibrated: of the photos given 80 %, about 80 % are of that class."
        : "Not calibrated: a network is often surer than it is right."));
  }

  /** @param {number[]} probabilities one per class */
  show(probabilities) {
    const best = probabilities.indexOf(Math.max(...probabilities));
    this.verdict.replaceChildren(element("b", {}, this.model.classes[best].name), ` ${percent(probabilities[best])}`);
    this.#rows.forEach(({row, fill, share}, id) => {
      row.classList.toggle("best", id === best);
      fill.style.width = `${100 * probabilities[id]}%`;
      share.textContent = percent(probabilities[id]);
    });
  }

  /** Mark the class whose map is shown. */
  choose(chosen) {
    this.#rows.forEach(({head}, id) => head.matches("button") && head.setAttribute("aria-pressed", String(id === chosen)));
  }
}
