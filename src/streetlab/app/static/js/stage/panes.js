/** Panes of the stage: one picture per model, with the model's name. */

import {element} from "../controls/dom.js";
import {PhotoStage} from "./photo_stage.js";

/** Get the stage class for a job's result; the less common ones are loaded when needed. */
async function stageClass(job) {
  if (job.result.task === "classification") return (await import("./classification_stage.js")).ClassificationStage;
  if (job.kind === "video") return (await import("./video_stage.js")).VideoStage;
  return PhotoStage;
}

/** Get the line that says that a photo, or most of a video, is unlike the training photos; empty where it is not. */
function unlikeTraining(result, model) {
  if (!result.unlike_training) return "";
  const photos = `the training photos${model.trained_on ? ` (${model.trained_on})` : ""}`;
  const share = result.unlike_share; // of videos alone
  const unlike = typeof share === "number" ? `${Math.round(100 * share)}% of the frames compared are unlike` : "Unlike";
  return `${unlike} ${photos}: do not rely on this result.`;
}

/** One picture: `job`, `model`, `stage`, `shares` and `host` are null until one is shown. */
export class Pane {
  job = null;
  model = null;
  stage = null;
  shares = null;
  host = null;
  #turn = 0;

  /** @param {Element} container @param {object} options passed on to the stages */
  constructor(container, options) {
    this.options = options;
    this.title = element("p", {class: "pane-title"});
    this.note = element("p", {class: "pane-note", role: "status", hidden: true});
    this.box = element("section", {class: "pane", hidden: true}, this.title, this.note);
    container.append(this.box);
  }

  /** Show a finished job; false if another one was requested meanwhile. The old picture stays until the new one is ready. */
  async show(job, model, title, onReady) {
    const turn = ++this.#turn;
    const host = element("div", {class: "host arriving"});
    const Stage = await stageClass(job);
    if (turn !== this.#turn) return false;
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
    if (turn !== this.#turn) {
      stage.destroy();
      host.remove();
      return false;
    }
    this.#leave();
    Object.assign(this, {job, model, stage, host});
    this.title.textContent = title;
    this.box.setAttribute("aria-label", title);
    this.#warn(unlikeTraining(job.result, model));
    onReady();
    host.classList.remove("arriving");
    return true;
  }

  #warn(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }

  #leave() {
    this.stage?.destroy();
    this.host?.remove();
    Object.assign(this, {job: null, model: null, stage: null, host: null});
  }

  clear() {
    this.#turn++;
    this.#leave();
    this.shares = null;
    this.box.hidden = true;
  }
}
