/** The streets as a table, worst first: what the map shows, for keyboards and screen readers too. */

import {interval, points, signed} from "./texts.js";

/** @import {Street, Survey} from "./survey_data.js" */

/** Rows that are added at a time. */
const ROWS = 50;

export class StreetList {
  /** @type {Street[]} */
  #streets = [];
  #layer = "severity";
  #shown = 0;
  #chosen = null;

  /**
   * @param {HTMLTableSectionElement} body
   * @param {HTMLButtonElement} more
   * @param {Survey} survey
   * @param {(index: number) => void} choose
   */
  constructor(body, more, survey, choose) {
    this.body = body;
    this.more = more;
    this.survey = survey;
    this.choose = choose;
    more.addEventListener("click", () => {
      const from = this.body.rows.length;
      this.#add();
      this.body.rows[from]?.querySelector("button")?.focus();
    });
  }

  /** List these streets: by the lower end of their interval, then those without one, then those not seen. */
  show(streets, layer) {
    this.#layer = layer;
    this.#streets = [...streets].sort((one, other) =>
      value(other.low) - value(one.low) || value(other.severity) - value(one.severity) || one.index - other.index);
    this.#shown = 0;
    this.body.replaceChildren();
    this.#add();
  }

  select(street) {
    this.#chosen = street.index;
    for (const button of this.body.querySelectorAll("button")) mark(button, this.#chosen);
  }

  #add() {
    const next = this.#streets.slice(this.#shown, this.#shown + ROWS);
    this.body.append(...next.map((street, i) => this.#row(street, this.#shown + i + 1)));
    this.#shown += next.length;
    this.more.hidden = this.#shown === this.#streets.length;
    this.more.textContent = `Show more (${this.#streets.length - this.#shown} left)`;
  }

  #row(street, place) {
    const row = document.createElement("tr");
    const cell = (text, kind = "") => {
      const made = row.insertCell();
      made.textContent = text;
      made.className = kind;
      return made;
    };
    cell(street.low === null ? "" : String(place));
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.street = String(street.index);
    button.textContent = street.name;
    button.addEventListener("click", () => this.choose(street.index));
    mark(button, this.#chosen);
    const swatch = document.createElement("span");
    swatch.className = street.unsure ? "swatch unsure" : "swatch";
    swatch.style.setProperty("--color", this.survey.color(street, this.#layer));
    cell("", "left wrap").append(swatch, button);
    if (this.survey.districts.length) cell(this.survey.districts[street.district] ?? "", "left wrap");
    cell(street.photos ? points(street.severity) : "not seen");
    cell(interval(street.low, street.high));
    cell(String(street.photos));
    if (this.survey.hasTrend) {
      cell(signed(street.change));
      cell(interval(street.changeLow, street.changeHigh));
    }
    return row;
  }
}

function value(number) {
  return number ?? -1;
}

function mark(button, chosen) {
  if (button.dataset.street === String(chosen)) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}
