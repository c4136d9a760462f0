/** The survey's page: map, list and panel over one selection. */

import {DrawnMap} from "./drawn_map.js";
import {Survey} from "./survey_data.js";
import {StreetList} from "./street_list.js";
import {StreetMap} from "./street_map.js";
import {StreetPanel} from "./street_panel.js";
import {countedPhotos} from "./texts.js";

/** @param {string} id @returns {any} */
const byId = id => document.getElementById(id);

function start() {
  const survey = new Survey(byId("survey-data").textContent);
  const form = byId("filters");
  const fields = form.elements;
  const host = byId("map");
  let chosen = null;

  const filter = () => ({
    district: Number(fields.district?.value || -1), grade: Number(fields.grade.value || -1),
    from: fields.from?.value ?? "", to: fields.to?.value ?? "",
  });
  const layer = () => fields.layer?.value ?? "severity";

  const list = new StreetList(byId("streets"), byId("more-streets"), survey, choose);
  const panel = new StreetPanel(byId("street"), byId("photo"), survey);
  const map = mapOf();

  function mapOf() {
    try {
      return new StreetMap(host, survey, choose);
    } catch {
      host.replaceChildren();
      host.className = "drawn";
      return new DrawnMap(host, survey, choose);
    }
  }

  function choose(index) {
    chosen = survey.streets[index];
    list.select(chosen);
    map.select(chosen);
    panel.show(chosen, filter());
    byId("street").querySelector(".name").focus({preventScroll: true});
    byId("street").scrollIntoView({block: "nearest"});
  }

  function show() {
    const {streets, photos} = survey.select(filter());
    map.show(streets, layer());
    list.show(streets, layer());
    if (chosen) panel.show(chosen, filter());
    byId("count").textContent = `${streets.length} of ${survey.streets.length} ${survey.kind}, ` +
      `${photos} of ${countedPhotos(survey.photos.file.length)}`;
    for (const legend of document.querySelectorAll(".legend")) {
      if (legend instanceof HTMLElement) legend.hidden = legend.dataset.layer !== layer();
    }
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", event => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  show();
}

start();
