/** The choice of models: select, line of details, table. */

import {element} from "./dom.js";

const TASKS = {segmentation: "What is where (segmentation)", classification: "How clean (classification)"};
const METRICS = {
  miou: "mIoU", macro_f1: "macro F1", accuracy: "accuracy", pixel_accuracy: "pixel accuracy", qwk: "weighted kappa",
};

const metricName = name => METRICS[name] ?? name.replaceAll("_", " ");
const score = model => model.score === null || model.score === undefined ? null : model.score.toFixed(3);
const size = ([height, width]) => `${width}×${height}`;
const millions = count => count >= 1e6 ? `${(count / 1e6).toFixed(1)} M` : `${Math.max(1, Math.round(count / 1e3))} k`;
const numeral = value => value >= 10 ? value.toFixed(0) : value.toFixed(1);

/** The title of a model: its variant of the original study, if it is one, and the data it was trained on. */
export const titleOf = model => model.title ?? model.name;

/** Score, size and speed in one line, where known. */
export function detailLine(model) {
  return [
    score(model) && `${metricName(model.objective)} ${score(model)}${model.split ? ` on ${model.split}` : ""}`,
    model.trained_on ? `trained on ${model.trained_on}` : model.data_set,
    model.image_size && size(model.image_size),
    model.parameters && `${millions(model.parameters)} parameters`,
    model.gmacs && `${numeral(model.gmacs)} GMACs`,
    model.images_per_second && `${numeral(model.images_per_second)} photos/s`,
    model.calibrated && "calibrated",
  ].filter(Boolean).join(" · ");
}

const byTask = models => Object.keys(TASKS)
  .map(task => [task, models.filter(model => model.task === task)])
  .filter(([, those]) => those.length);

const optionOf = model => element("option", {value: model.id}, [titleOf(model), score(model)].filter(Boolean).join(" · "));

/** Fill a select with models, grouped by task; `first` is an option for "none". */
export function fillSelect(select, models, first = null) {
  const before = select.value;
  const groups = byTask(models).map(([task, those]) => element("optgroup", {label: TASKS[task]}, ...those.map(optionOf)));
  select.replaceChildren(...(first ? [element("option", {value: ""}, first)] : []), ...groups);
  if (models.some(({id}) => id === before)) select.value = before;
}

const COLUMNS = [
  {name: "model", of: titleOf},
  {name: "run", of: model => model.name},
  {name: "data set", of: model => model.data_set},
  {name: "score", of: model => model.score, said: model => score(model) && `${metricName(model.objective)} ${score(model)}`},
  {name: "size", of: model => model.image_size?.[0] * model.image_size?.[1], said: model => model.image_size && size(model.image_size)},
  {name: "parameters", of: model => model.parameters, said: model => model.parameters && millions(model.parameters)},
  {name: "GMACs", of: model => model.gmacs, said: model => model.gmacs && numeral(model.gmacs)},
  {name: "photos/s", of: model => model.images_per_second, said: model => model.images_per_second && numeral(model.images_per_second)},
  {name: "ended", of: model => model.ended, said: model => model.ended && new Date(model.ended).toLocaleDateString()},
];

const WORDS = new Set(["model", "run", "data set"]);

/** @import {Model} from "../api/client.js" */

/** The table of all models; a click on a head sorts, a click on a name chooses. */
export class ModelTable {
  #models = [];
  #sorted = {column: COLUMNS[3], down: true};

  /** @param {HTMLTableElement} table @param {(model: Model) => void} onChoose */
  constructor(table, onChoose) {
    this.table = table;
    this.onChoose = onChoose;
  }

  show(models) {
    this.#models = models;
    this.#draw();
  }

  #sortBy(column) {
    const again = column === this.#sorted.column;
    this.#sorted = {column, down: again ? !this.#sorted.down : !WORDS.has(column.name)};
    this.#draw();
    /** @type {HTMLElement} */ (this.table.querySelector(`th[aria-sort] button`)).focus();
  }

  #draw() {
    const {column, down} = this.#sorted;
    const known = value => value !== null && value !== undefined && !Number.isNaN(value);
    const order = (one, other) => {
      const [a, b] = [column.of(one), column.of(other)];
      if (!known(a) || !known(b)) return Number(known(b)) - Number(known(a)); // what is not known comes last, whichever way
      return (a < b ? -1 : Number(a > b)) * (down ? -1 : 1);
    };
    const head = element("tr", {}, ...COLUMNS.map(each => element(
      "th", {scope: "col", class: WORDS.has(each.name) ? "left" : "", "aria-sort": each === column && (down ? "descending" : "ascending")},
      element("button", {type: "button", on: {click: () => this.#sortBy(each)}}, each.name),
    )));
    const groups = byTask(this.#models).map(([task, those]) => element("tbody", {},
      element("tr", {}, element("th", {scope: "rowgroup", class: "left group", colSpan: COLUMNS.length}, TASKS[task])),
      ...[...those].sort(order).map(model => this.#rowOf(model)),
    ));
    this.table.replaceChildren(element("thead", {}, head), ...groups);
  }

  #rowOf(model) {
    const choose = element("button", {type: "button", class: "link", on: {click: () => this.onChoose(model)}}, titleOf(model));
    return element("tr", {}, ...COLUMNS.map((column, at) => element(
      "td", {class: WORDS.has(column.name) ? "left" : ""}, at ? String((column.said ?? column.of)(model) || "–") : choose,
    )));
  }
}
