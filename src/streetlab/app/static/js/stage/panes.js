/** The pictures on the stage: one per model asked, each in a pane with the model's name. */

import {element} from "../controls/dom.js";
import {PhotoStage} from "./photo_stage.js";

/** The stage that shows a job's result; those that not every session needs are loaded when they are. */
async function stageClass(job) {
  if (job.result.task === "classification") return (await import("./classification_stage.js")).ClassificationStage;
  if (job.kind === "video") return (await import("./video_stage.js")).VideoStage;
  return PhotoStage;
}

/** One picture: `job`, `model` and `stage` are null until something was shown, and so are the `shares` that it said. */
export class Pane {
  job = null;
  model = null;
  stage = null;
  shares = null;
  #asked = 0;

  /** @param {Element} container @param {object} options passed on to the stages */
  constructor(container, options) {
    this.options = options;
    this.title = element("p", {class: "pane-title"});
    this.box = element("section", {class: "pane", hidden: true}, this.title);
    container.append(this.box);
  }

  /** Show a finished job; true, or false where another was asked for in the meantime. What was shown stays until then. */
  async show(job, model, title, onReady) {
    const turn = ++this.#asked;
    const host = element("div", {class: "host arriving"});
    const Stage = await stageClass(job);
    if (turn !== this.#asked) return false;
    this.box.hidden = false;
    this.box.append(host);
    const stage = new Stage(host, this.options);
    try {
      await stage.load(job, model);
    } catch (error) {
      stage.destroy();
      host.remove();
      this.box.hidden = !this.stage;
      throw error;
    }
    if (turn !== this.#asked) {
      stage.destroy();
      host.remove();
      return false;
    }
    this.#leave();
    Object.assign(this, {job, model, stage, host});
    this.title.textContent = title;
    this.box.setAttribute("aria-label", title);
    onReady();
    host.classList.remove("arriving");
    return true;
  }

  #leave() {
    this.stage?.destroy();
    this.host?.remove();
    Object.assign(this, {job: null, model: null, stage: null, host: null});
  }

  clear() {
    this.#asked++;
    this.#leave();
    this.shares = null;
    this.box.hidden = true;
  }
}
