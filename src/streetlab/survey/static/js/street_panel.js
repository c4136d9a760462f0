/** One street: its numbers and its photos, which are listed a few at a time. */

import {address, countedPhotos, interval, points, signed} from "./texts.js";

/** @import {Filter, Street, Survey} from "./survey_data.js" */

/** Photos that are added at a time. */
const PHOTOS = 20;

export class StreetPanel {
  /** @type {number[]} */
  #numbers = [];
  #shown = 0;

  /**
   * @param {HTMLElement} panel with .name, .numbers, .photos, .more
   * @param {HTMLTemplateElement} template of a photo
   * @param {Survey} survey
   */
  constructor(panel, template, survey) {
    this.panel = panel;
    this.template = template;
    this.survey = survey;
    /** @type {HTMLElement} */
    this.list = panel.querySelector(".photos");
    /** @type {HTMLButtonElement} */
    this.more = panel.querySelector(".more");
    this.more.addEventListener("click", () => this.#add());
  }

  /**
   * Show a street and those of its photos that the filter leaves.
   * @param {Street} street
   * @param {Filter} filter
   */
  show(street, filter) {
    this.panel.dataset.street = String(street.index);
    this.panel.querySelector(".name").textContent = street.name;
    this.panel.querySelector(".numbers").textContent = this.#numbersOf(street);
    this.#numbers = this.survey.photoNumbers(street, filter);
    this.#shown = 0;
    this.list.replaceChildren();
    this.#add();
  }

  #numbersOf(street) {
    const district = this.survey.districts[street.district];
    const parts = [
      district,
      street.length === null ? null : `${Math.round(street.length)} m`,
      street.photos ? `severity ${points(street.severity)} ${interval(street.low, street.high)}` : null,
      street.photos && street.unsure ? "uncertain: few photos, or a wide interval" : null,
      street.change === null ? null : `change ${signed(street.change)} ${interval(street.changeLow, street.changeHigh)}`,
      countedPhotos(street.photos),
    ];
    return parts.filter(Boolean).join(" · ");
  }

  #add() {
    const next = this.#numbers.slice(this.#shown, this.#shown + PHOTOS);
    this.list.append(...next.map(number => this.#item(this.survey.photo(number))));
    this.#shown += next.length;
    this.more.hidden = this.#shown === this.#numbers.length;
    this.more.textContent = `Show more photos (${this.#numbers.length - this.#shown} left)`;
  }

  #item(photo) {
    const item = /** @type {DocumentFragment} */ (this.template.content.cloneNode(true));
    const set = (kind, text) => { item.querySelector(kind).textContent = text; };
    const confidence = photo.confidence === null ? "" : ` ${photo.confidence}%`;
    set(".file", photo.file);
    set(".label", `${photo.label}${confidence}`);
    set(".grade", [photo.grade, photo.severity === null ? "" : `severity ${points(photo.severity)}`].filter(Boolean).join(" · "));
    set(".time", photo.time.replace("T", " ").replace(/\.\d+/, "").replace("Z", " UTC"));
    set(".human", photo.human ? `${photo.human} by a person` : "");
    set(".unlike", photo.unlike ? "unlike the photos of training" : "");
    const image = item.querySelector("img");
    const evidence = /** @type {HTMLButtonElement} */ (item.querySelector(".evidence"));
    if (photo.picture) {
      image.src = address(photo.picture);
      image.alt = `photo ${photo.file}`;
    } else image.remove();
    if (photo.picture && photo.evidence) {
      evidence.addEventListener("click", () => {
        const on = evidence.getAttribute("aria-pressed") !== "true";
        evidence.setAttribute("aria-pressed", String(on));
        image.src = address(on ? photo.evidence : photo.picture);
      });
    } else evidence.remove();
    return item;
  }
}
