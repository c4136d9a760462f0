/** The session of a visitor: its files, the open one, and the state shown while its prediction runs. */

import {byId} from "../controls/dom.js";
import {titleOf} from "../controls/models.js";
import {parametersOf} from "../controls/options.js";
import {remember, remembered} from "./reload.js";
import {Uploads} from "./upload.js";
import {UploadList, stateLine} from "./upload_list.js";

const announce = text => { byId("live").textContent = text; };

/** @import {Model} from "../api/client.js" @import {Stage} from "../stage/stage.js" */

export class Session {
  uploads = new Uploads();
  opened = null;

  /**
   * @param {Stage} stage
   * @param {HTMLFormElement} options
   * @param {{model: () => Model|null, other: () => Model|null}} chosen the models to predict with
   */
  constructor(stage, options, chosen) {
    this.stage = stage;
    this.options = options;
    this.chosen = chosen;
    const show = prediction => this.predict(prediction);
    this.list = new UploadList(document.querySelector(".jobs"), this.uploads, {
      onOpen: upload => this.open(upload),
      onCancel: upload => upload.cancel(),
      onRetry: upload => upload === this.opened ? show(upload.retry(this.uploads.lane)) : upload.retry(this.uploads.lane),
      onRemove: upload => this.#remove(upload),
    });
    byId("waiting-retry").addEventListener("click", () => show(this.opened.retry(this.uploads.lane)));
    this.uploads.addEventListener("change", () => remember(this.uploads.all, this.opened));
    this.uploads.addEventListener("change", (/** @type {CustomEvent} */ event) => event.detail === this.opened && this.#showState());
  }

  /** Take files in: open the first, predict all. */
  receive(files) {
    if (!this.chosen.model()) {
      announce("there is no model yet that could look at a photo");
      return;
    }
    const [first, ...others] = files.map(file => this.uploads.add(file));
    this.open(first);
    for (const upload of others) this.#want(upload);
  }

  /** Show the files of before a reload; `choose` receives the parameters of the one that was open. */
  restore(choose) {
    const {files, opened} = remembered();
    const uploads = files.map(file => this.uploads.addAgain(file));
    if (!uploads.length) return;
    const first = uploads[opened] ?? uploads[0];
    choose(first.wanted.parameters);
    this.open(first);
    for (const upload of uploads) if (upload !== first) upload.want(upload.wanted.parameters, this.uploads.lane);
  }

  open(upload) {
    if (upload !== this.opened) this.stage.clear();
    this.opened = upload;
    document.body.classList.add("opened");
    this.list.open(upload);
    remember(this.uploads.all, upload);
    this.predict();
  }

  /** Open the file `by` places further in the list. */
  step(by) {
    const upload = this.uploads.all[this.uploads.all.indexOf(this.opened) + by];
    if (upload) this.open(upload);
  }

  /** Show the chosen model's prediction of the open file as soon as it is done. */
  async predict(wanted = this.opened && this.#want(this.opened)) {
    const upload = this.opened;
    if (!upload) return;
    const model = this.chosen.model();
    const prediction = await wanted;
    if (upload !== this.opened || prediction !== upload.wanted) return;
    announce(`${upload.name}: ${stateLine(upload)}`);
    if (!prediction.succeeded) return;
    try {
      if (!await this.stage.show(prediction.job, model)) return;
    } catch (error) {
      await upload.recheck();
      if (prediction.succeeded) upload.fail(error.message);
      return;
    }
    this.#showState();
    await this.compare();
  }

  /** Show the second model's prediction beside the main one, or remove it. */
  async compare() {
    const {job} = this.stage.main;
    const select = byId("second");
    select.disabled = job?.kind === "video" || select.options.length < 2;
    const model = job?.kind === "photo" ? this.chosen.other() : null;
    if (!model) {
      this.stage.showAlone();
      byId("second-state").textContent = job?.kind === "video" && select.options.length > 1 ? "two models are compared on photos only" : "";
      return;
    }
    const upload = this.opened;
    byId("second-state").textContent = `asking ${titleOf(model)}`;
    const prediction = await upload.also(this.#parameters(upload, model), this.uploads.lane);
    if (this.stage.main.job !== job || this.chosen.other() !== model) return;
    try {
      if (prediction.succeeded && !await this.stage.showBeside(prediction.job, model)) return;
      byId("second-state").textContent = prediction.succeeded ? "" : prediction.error ?? prediction.state;
    } catch (error) {
      byId("second-state").textContent = error.message;
    }
  }

  /** Find predictions that the server has deleted, and offer to repeat them. */
  recheck() {
    for (const upload of this.uploads.all) upload.recheck();
  }

  #parameters(upload, model = this.chosen.model()) {
    return parametersOf(this.options, model, upload.isVideo);
  }

  #want(upload) {
    return upload.want(this.#parameters(upload), this.uploads.lane);
  }

  #remove(upload) {
    const place = this.uploads.all.indexOf(upload);
    this.uploads.remove(upload);
    if (upload !== this.opened) return;
    this.opened = null;
    const next = this.uploads.all[Math.min(place, this.uploads.all.length - 1)];
    if (next) {
      this.open(next);
      return;
    }
    this.stage.clear();
    document.body.classList.remove("opened");
    if (document.activeElement === document.body) byId("files").focus();
    this.#showState();
  }

  /** Show the state of the open file over the stage until its prediction is shown there. */
  #showState() {
    const upload = this.opened;
    const prediction = upload?.wanted;
    const shown = !upload || (prediction?.succeeded && this.stage.main.job === prediction.job);
    const failed = Boolean(prediction?.over) && !prediction.succeeded;
    if (!failed && document.activeElement === byId("waiting-retry")) byId("stage").focus(); // the button goes
    byId("waiting").hidden = shown;
    byId("stage").classList.toggle("busy", !shown);
    if (shown) return;
    byId("waiting-text").textContent = `${upload.name}: ${stateLine(upload)}`;
    byId("waiting-bar").hidden = failed;
    byId("waiting-retry").hidden = !failed || prediction.refused;
  }
}
