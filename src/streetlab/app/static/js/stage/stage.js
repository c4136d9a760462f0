/** The stage: one model's picture, a second model's beside it, and their difference. */

import {describe, differenceBetween} from "./compare.js";
import {byId, percent} from "../controls/dom.js";
import {titleOf} from "../controls/models.js";
import {Pane} from "./panes.js";

/** @import {PaintStyles} from "../paint/paint_style.js" @import {View} from "./view.js" */

export class Stage {
  #onlyDifference = false;
  #difference = null;

  /**
   * @param {PaintStyles} paintStyles @param {View} view
   * @param {{onChange: () => void, onShares: (shares: number[]) => void, onGone: () => void}} listeners called when pictures come
   *   and go, the share of each class in the leading one, and that the server has forgotten a job
   */
  constructor(paintStyles, view, {onChange, onShares, onGone}) {
    this.box = byId("stage");
    this.paintStyles = paintStyles;
    this.view = view;
    this.onChange = onChange;
    this.onShares = onShares;
    const [main, second] = ["main", "second"].map(which => new Pane(this.box, {
      view,
      onGone,
      divided: which === "main",
      onHover: point => this.#name(point),
      onShares: shares => {
        this[which].shares = shares;
        if (this[which] === this.leader) onShares(shares);
      },
    }));
    this.main = main;
    this.second = second;
    new ResizeObserver(() => this.#arrange()).observe(this.box);
  }

  get #panes() {
    return [this.main, this.second].filter(({stage}) => stage);
  }

  /** The pane whose classes the legend lists: the first with a picture of classes, else the main one. */
  get leader() {
    return this.#panes.find(({model}) => model.task === "segmentation") ?? this.main;
  }

  /** The job with a picture of classes; null where there is none. */
  get #segmented() {
    return this.leader.model?.task === "segmentation" ? this.leader.job : null;
  }

  /** The models whose pictures are shown. */
  get models() {
    return this.#panes.map(({model}) => model);
  }

  /** Show a job of the chosen model; false if another one was requested meanwhile. */
  async show(job, model) {
    return this.main.show(job, model, titleOf(model), () => this.#refresh());
  }

  /** Show a job of the second model beside it; false as above. */
  async showBeside(job, model) {
    return this.second.show(job, model, titleOf(model), () => this.#refresh());
  }

  /** Remove the second picture. */
  showAlone() {
    this.second.clear();
    this.#refresh();
  }

  /** Clear the stage for another photo. */
  clear() {
    this.main.clear();
    this.showAlone();
    this.view.reset();
    this.onShares([]);
    this.#name(null);
  }

  /** The pictures shown, that of the chosen model first: job, title of the model, paint style, and the picture as a file. */
  get pictures() {
    return this.#panes.map(pane => {
      const paintStyle = this.#paintStyleOf(pane);
      return {job: pane.job, title: titleOf(pane.model), paintStyle, snapshot: () => pane.stage.snapshot(paintStyle)};
    });
  }

  /** Paint both pictures. */
  repaint() {
    for (const pane of this.#panes) pane.stage.repaint(this.#paintStyleOf(pane));
  }

  /** Get a pane's paint style; a class of both models has the colour of the leading picture. */
  #paintStyleOf({model}) {
    return this.paintStyles.of(model, this.leader.model);
  }

  /** True if only the pixels are painted where the two differ. */
  get onlyDifference() {
    return this.#onlyDifference && this.#difference !== null;
  }

  /** Show only the pixels where the two differ, or all. */
  set onlyDifference(wanted) {
    this.#onlyDifference = wanted;
    const mask = wanted && this.#difference ? this.#difference.mask : null;
    for (const {stage} of this.#panes) stage.showOnly?.(mask);
    this.repaint();
  }

  #refresh() {
    this.box.classList.toggle("compared", this.second.stage !== null);
    this.#arrange();
    this.#difference = differenceBetween(this.main, this.second);
    byId("difference-choice").hidden = !this.#difference;
    if (this.#difference) describe(byId("swaps"), this.#difference, this.main, this.second);
    else byId("swaps").replaceChildren();
    this.onlyDifference = this.#onlyDifference;
    for (const {stage} of this.#panes) stage.relate?.(this.#segmented);
    this.onChange();
  }

  /** Stack two pictures where that gives each more room than side by side; never above a classification. */
  #arrange() {
    const {width, height} = this.main.job?.result ?? {};
    const {clientWidth, clientHeight} = this.box;
    const beside = Math.min(clientWidth / 2 / width, clientHeight / height);
    const stacked = Math.min(clientWidth / width, clientHeight / 2 / height);
    const pictures = this.second.stage !== null && this.#panes.every(({model}) => model.task === "segmentation");
    this.box.classList.toggle("stacked", pictures && stacked > beside);
  }

  /** Show the class of each picture at a pixel. */
  #name(point) {
    const names = point && this.#panes.map(({stage, model}) => {
      const {id, confidence} = stage.idAt(point.x, point.y) ?? {};
      const name = model.classes[id]?.name;
      return name && typeof confidence === "number" ? `${name} ${percent(confidence)}` : name;
    });
    byId("hover").textContent = names ? names.filter(Boolean).join("  |  ") : "";
  }
}
