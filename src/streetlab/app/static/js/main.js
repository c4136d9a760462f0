/** The page: connect the controls to session, stage and paint styles. Painting needs no request to the server. */

import * as api from "./api/client.js";
import {byId} from "./controls/dom.js";
import {DownloadMenu} from "./controls/download.js";
import {Legend} from "./controls/legend.js";
import {PaintStyles} from "./paint/paint_style.js";
import {ModelTable, detailLine, fillSelect} from "./controls/models.js";
import {changedOptions, setOptions} from "./controls/options.js";
import {listenToKeys} from "./controls/shortcuts.js";
import {Stage} from "./stage/stage.js";
import {switchTheme} from "./controls/theme.js";
import {receiveFiles} from "./session/upload.js";
import {View} from "./stage/view.js";
import {Session} from "./session/session.js";

const AGAIN = 3000;
const ZOOM = 1.5;
/** Get the input, select or output of this name. @param {string} name @returns {any} */
const field = name => document.querySelector(`[name=${name}]`);
const options = byId("options").querySelector("form");

/** @type {api.Model[]} */
let models = [];
let restored = false;
const modelIn = select => models.find(({id}) => id === byId(select).value) ?? null;
const paintStyles = new PaintStyles();
const view = new View();
const stage = new Stage(paintStyles, view, {
  onChange: showChange, onShares: shares => legend.setShares(shares), onGone: () => session.recheck(),
});
const legend = new Legend(document.querySelector(".legend"), paintStyles, () => stage.models);
const session = new Session(stage, options, {model: () => modelIn("models"), other: () => modelIn("second")});
const download = new DownloadMenu(byId("download"), () => {
  const {pictures, onlyDifference} = stage;
  const others = session.uploads.all.map(({finishedJob}) => finishedJob).filter(other => other && other !== stage.main.job);
  return {pictures, others, difference: onlyDifference};
}, () => session.recheck());
const table = new ModelTable(document.querySelector("#table-of-models table"), model => {
  byId("table-of-models").close();
  byId("models").value = model.id;
  changeModel();
});

async function readModels() {
  let limits;
  try {
    ({models, limits} = await api.models());
  } catch (error) {
    byId("live").textContent = error.message;
    setTimeout(readModels, AGAIN);
    return;
  }
  const some = models.length > 0;
  for (const id of ["models", "files", "more-files"]) byId(id).disabled = !some;
  byId("second").disabled = byId("all-models").hidden = models.length < 2;
  byId("limits").textContent =
    `${limits.formats.join(", ")} up to ${Math.round(limits.upload_bytes / 2 ** 20)} MB; forgotten after ${limits.expire_minutes} minutes`;
  fillSelect(byId("models"), models);
  table.show(models);
  changeModel();
  document.body.dataset.state = some ? "ready" : "empty";
  if (some && !restored) session.restore(chooseAgain);
  restored ||= some;
}

/** Choose the model and options of a prediction of before a reload. */
function chooseAgain(parameters) {
  setOptions(options, parameters);
  showOptions();
  if (models.some(({id}) => id === parameters.model)) byId("models").value = parameters.model;
  changeModel();
}

const showOptions = () => {
  byId("options-changed").textContent = changedOptions(options).map(option => ` · ${option}`).join("");
};

function changeModel() {
  const model = modelIn("models");
  byId("detail").textContent = model ? detailLine(model) : "";
  fillSelect(byId("second"), models.filter(({id}) => id !== model?.id), "no second model");
  session.predict();
}

/** Update legend, controls and downloads after pictures were shown or removed. */
function showChange() {
  const {leader, second} = stage;
  const {job, model, shares} = leader;
  if (model?.task === "segmentation") {
    const beside = second !== leader && second.model?.task === "segmentation" ? second : null;
    legend.show(model, job.result.shares, beside?.model);
    legend.setShares(shares, beside?.shares);
  } else if (model) legend.clear();
  if (model) {
    document.body.dataset.task = model.task;
    document.body.classList.toggle("bare", model.task === "classification" && !job.result.activations?.length); // nothing is painted
  }
  showSettings();
  download.refresh();
}

/** Show the current settings in the controls. */
function showSettings() {
  const {alpha, threshold, outlines} = paintStyles.settings;
  for (const [name, share] of Object.entries({alpha, threshold})) {
    field(name).value = Math.round(100 * share);
    field(`${name}-value`).textContent = `${Math.round(100 * share)} %`;
  }
  field("outlines").checked = outlines;
  field("divider").checked = view.divider !== null;
  byId("reset-colors").hidden = !stage.models.some(model => paintStyles.hasOwnColors(model));
}

let frame = 0;
paintStyles.addEventListener("change", () => {
  showSettings();
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    stage.repaint();
  });
});
view.addEventListener("change", () => { field("divider").checked = view.divider !== null; });

const divide = () => view.divide(view.divider === null ? 0.5 : null);
const showAll = shown => paintStyles.showOnly(stage.models, () => shown);
const fade = by => paintStyles.set({alpha: Math.min(1, Math.max(0, Math.round(10 * paintStyles.settings.alpha + by) / 10))});

/** @type {[string, string, (event: any) => void][]} */
const LISTENERS = [
  ["models", "change", changeModel],
  ["second", "change", () => session.compare()],
  ["difference", "change", event => { stage.onlyDifference = event.target.checked; }],
  ["reload", "click", readModels],
  ["all-models", "click", () => byId("table-of-models").showModal()],
  ["help", "click", () => byId("keys").showModal()],
  ["all", "click", () => showAll(true)],
  ["none", "click", () => showAll(false)],
  ["reset-colors", "click", () => stage.models.forEach(model => paintStyles.recolor(model, null, null))],
  ["zoom-in", "click", () => view.zoomBy(ZOOM)],
  ["zoom-out", "click", () => view.zoomBy(1 / ZOOM)],
  ["zoom-reset", "click", () => view.reset()],
];
for (const [id, type, does] of LISTENERS) byId(id).addEventListener(type, does);

field("alpha").addEventListener("input", event => paintStyles.set({alpha: event.target.value / 100}));
field("threshold").addEventListener("input", event => paintStyles.set({threshold: event.target.value / 100}));
field("outlines").addEventListener("change", event => paintStyles.set({outlines: event.target.checked}));
field("divider").addEventListener("change", divide);
field("order").addEventListener("change", event => legend.sort(event.target.value));
options.addEventListener("submit", event => event.preventDefault());
options.addEventListener("change", () => {
  showOptions();
  session.predict();
});
document.addEventListener("pointerdown", event => {
  if (!byId("options").contains(event.target)) byId("options").open = false;
});
byId("options").addEventListener("keydown", event => {
  if (event.key !== "Escape") return;
  byId("options").open = false;
  byId("options").querySelector("summary").focus();
});
for (const close of document.querySelectorAll("dialog .close")) {
  close.addEventListener("click", () => close.closest("dialog").close());
}

listenToKeys({
  ...Object.fromEntries(Array.from({length: 9}, (_, place) => [place + 1, () => legend.toggleAt(place)])),
  a: () => showAll(true),
  n: () => showAll(false),
  o: () => paintStyles.set({outlines: !paintStyles.settings.outlines}),
  d: divide,
  x: () => byId("difference-choice").hidden || byId("difference").click(),
  "[": () => fade(-1),
  "]": () => fade(1),
  "+": () => view.zoomBy(ZOOM),
  "-": () => view.zoomBy(1 / ZOOM),
  0: () => view.reset(),
  ArrowLeft: () => session.step(-1),
  ArrowRight: () => session.step(1),
  "?": () => byId("keys").showModal(),
}, byId("keys-on"));

receiveFiles([byId("files"), byId("more-files")], files => session.receive(files));
switchTheme(byId("theme"));
showSettings();
readModels();
