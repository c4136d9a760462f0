/** The map of streets as SVG, for browsers without WebGL: the same streets, colours and clicks. */

/** @import {Street, Survey} from "./survey_data.js" */

const SVG = "http://www.w3.org/2000/svg";
const STEP = 1.4;

export class DrawnMap {
  #chosen = null;

  /**
   * @param {HTMLElement} host
   * @param {Survey} survey
   * @param {(index: number) => void} choose
   */
  constructor(host, survey, choose) {
    this.host = host;
    this.survey = survey;
    const [southWest, northEast] = survey.bounds().map(mercator);
    const margin = 0.04 * Math.max(northEast[0] - southWest[0], southWest[1] - northEast[1], 1e-6);
    this.view = [southWest[0] - margin, northEast[1] - margin,
      northEast[0] - southWest[0] + 2 * margin, southWest[1] - northEast[1] + 2 * margin];
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("aria-hidden", "true");
    host.append(this.svg);
    this.#look();
    this.svg.addEventListener("click", event => {
      const path = /** @type {Element} */ (event.target).closest("[data-street]");
      if (path instanceof SVGElement) choose(Number(path.dataset.street));
    });
    this.svg.addEventListener("wheel", event => {
      if (!event.ctrlKey && !event.metaKey) return; // the wheel alone scrolls the page
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? 1 / STEP : STEP);
    }, {passive: false});
    this.svg.addEventListener("pointermove", event => {
      if (event.buttons !== 1) return;
      const scale = Math.max(this.view[2] / host.clientWidth, this.view[3] / host.clientHeight);
      this.view[0] -= event.movementX * scale;
      this.view[1] -= event.movementY * scale;
      this.#look();
    });
    for (const [label, text, factor] of [["Zoom in", "+", 1 / STEP], ["Zoom out", "−", STEP]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = String(text);
      button.setAttribute("aria-label", String(label));
      button.addEventListener("click", () => this.zoom(factor));
      host.append(button);
    }
  }

  zoom(factor) {
    const [x, y, width, height] = this.view;
    this.view = [x + width * (1 - factor) / 2, y + height * (1 - factor) / 2, width * factor, height * factor];
    this.#look();
  }

  /**
   * @param {Street[]} streets
   * @param {string} layer
   */
  show(streets, layer) {
    const borders = this.survey.borders.map(shape => this.#path(shape, "border"));
    this.svg.replaceChildren(...borders, ...streets.map(street => {
      const path = this.#path(street.shape, street.unsure ? "unsure" : "street");
      path.dataset.street = String(street.index);
      path.style.setProperty("--color", this.survey.color(street, layer));
      path.classList.toggle("unseen", street.photos === 0);
      path.classList.toggle("chosen", street.index === this.#chosen);
      return path;
    }));
    this.host.dataset.drawn = layer;
  }

  /** @param {Street} street */
  select(street) {
    this.#chosen = street.index;
    for (const path of this.svg.querySelectorAll("[data-street]")) {
      path.classList.toggle("chosen", path instanceof SVGElement && path.dataset.street === String(street.index));
    }
  }

  #look() {
    this.svg.setAttribute("viewBox", this.view.join(" "));
  }

  #path({area, parts}, kind) {
    const path = document.createElementNS(SVG, "path");
    const end = area ? "Z" : "";
    path.setAttribute("d", parts.map(part => `M${part.map(point => mercator(point).join(" ")).join("L")}${end}`).join(""));
    path.setAttribute("class", area ? `${kind} area` : kind);
    return path;
  }
}

/** Web Mercator in degrees at the equator, y downwards. */
function mercator([lon, lat]) {
  const radians = Math.max(-85, Math.min(85, lat)) * Math.PI / 180;
  return [lon, -Math.log(Math.tan(Math.PI / 4 + radians / 2)) * 180 / Math.PI];
}
