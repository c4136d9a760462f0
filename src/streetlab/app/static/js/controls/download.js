/** The menu of downloads: masks, the overlay as shown, tables, each alone or all in a zip. */

import * as api from "../api/client.js";
import {element} from "./dom.js";
import {plainPaintStyle} from "../paint/paint_style.js";

const SEGMENTED = {
  ids: "Mask, a pixel is its class's number",
  palette: "Mask in colours",
  overlay: "Photo as shown",
  csv: "Share of each class, table",
};
const FILMED = {
  overlay: "Video as shown",
  ids: "Masks of all frames, lossless video",
  csv: "Share of each class over time, table",
};
const LABELLED = {csv: "Probabilities, table"};

/** The parts of a finished job that can be downloaded, with their labels. */
function partsOf({kind, result}) {
  if (result.task === "classification") return LABELLED;
  if (kind !== "video") return SEGMENTED;
  return result.audio ? {...FILMED, overlay: "Video as shown, with sound"} : FILMED;
}

/** @import {Job} from "../api/client.js" @import {PaintStyle} from "../paint/paint_style.js" */

/**
 * A picture on the stage.
 * @typedef {{job: Job, title: string, paintStyle: PaintStyle, snapshot: () => Promise<Blob>}} Picture
 */

export class DownloadMenu {
  #running = null;

  /**
   * @param {Element} box receives the menu
   * @param {() => {pictures: Picture[], others: Job[], difference: boolean}} shown returns the pictures on the stage, one of
   *   each model; the other finished jobs; true if the pictures show only the pixels where two models differ
   * @param {() => void} onGone the server has forgotten a job
   */
  constructor(box, shown, onGone = () => {}) {
    this.shown = shown;
    this.onGone = onGone;
    this.list = element("div", {class: "sheet"});
    this.summary = element("summary", {}, "Download");
    this.menu = element("details", {class: "menu", on: {toggle: () => this.menu.open && this.#fill()}}, this.summary, this.list);
    this.bar = element("progress", {max: 1, "aria-label": "progress of the overlay", hidden: true});
    this.cancel = element("button", {type: "button", class: "quiet-button cancel", hidden: true, on: {click: () => this.#running?.abort()}}, "cancel");
    this.status = element("p", {class: "quiet", role: "status"});
    this.box = element("div", {class: "download", on: {keydown: event => this.#key(event)}}, this.menu, this.status, this.bar, this.cancel);
    box.append(this.box);
    document.addEventListener("pointerdown", event => {
      if (!this.menu.contains(/** @type {Node} */ (event.target))) this.menu.open = false;
    });
  }

  /** Offer the jobs on the stage; hide the menu without one. */
  refresh() {
    this.box.hidden = this.shown().pictures.length === 0;
    if (this.menu.open) this.#fill();
  }

  #fill() {
    const {pictures, others} = this.shown();
    const items = pictures.map(({job}, place) => this.#itemsOf(job, place, others));
    const headings = pictures.length > 1 ? pictures.map(({title}) => element("p", {class: "quiet"}, title)) : [];
    this.list.replaceChildren(...items.flatMap((some, place) => [...headings.slice(place, place + 1), ...some]));
  }

  /** The buttons of the picture at a place on the stage. */
  #itemsOf(job, place, others) {
    const parts = partsOf(job);
    const item = (text, part, does) => element("button", {type: "button", class: "quiet-button", data: {[place ? "second" : "part"]: part}, on: {click: () => this.#run(does)}}, text);
    const differing = part => part === "overlay" && this.shown().difference;
    const items = Object.entries(parts).map(([part, text]) =>
      item(text, part, signal => differing(part) ? this.#snapshot(place, "difference") : this.#get([job], [part], place, signal)));
    if (job.result.task === "classification") {
      items.push(item("Picture as shown", "snapshot", () => this.#snapshot(place, job.kind === "video" ? "frame" : "map")));
    } else items.push(item("All of it, zip", "all", signal => this.#get([job], Object.keys(parts), place, signal)));
    // a paint style fits the classes of one model
    const photos = [job, ...others.filter(({kind, model}) => kind === "photo" && model === job.model)];
    if (job.kind === "photo" && photos.length > 1) {
      items.push(item(`All of ${photos.length} photos, zip`, "photos", signal => this.#get(photos, Object.keys(SEGMENTED), place, signal)));
    }
    return items;
  }

  async #run(does) {
    this.menu.open = false;
    this.summary.focus();
    this.#running?.abort();
    const running = this.#running = new AbortController();
    this.#say("getting it ready …");
    try {
      await does(running.signal);
      if (this.#running === running) this.#say("");
    } catch (error) {
      if (this.#running === running) this.#say(error.name === "AbortError" ? "" : error.message);
      if (error.status === 404) this.onGone();
    } finally {
      if (this.#running === running) this.bar.hidden = this.cancel.hidden = true;
    }
  }

  /** Download parts of jobs; a video's overlay is painted on the server first, from the stored ids. */
  async #get(jobs, parts, place, signal) {
    const paintStyle = plainPaintStyle(this.shown().pictures[place].paintStyle);
    const ids = jobs.map(({id}) => id);
    const [job] = jobs;
    if (job.kind !== "video" || !parts.includes("overlay")) {
      this.#save(await api.download(ids, paintStyle, parts, signal), place);
      return;
    }
    const painted = await this.#paint(job, paintStyle, signal);
    this.#save(await api.download(parts.length > 1 ? [...ids, painted.id] : [painted.id], paintStyle, parts, signal), place);
  }

  async #paint(job, paintStyle, signal) {
    this.bar.hidden = this.cancel.hidden = false;
    this.bar.removeAttribute("value");
    const {id} = await api.patiently(() => api.render(job.id, paintStyle), (seconds, why) => this.#say(`${why}; again in ${Math.ceil(seconds)} s`), signal);
    const drop = () => api.dropJob(id);
    signal.addEventListener("abort", drop, {once: true});
    const painted = await api.finished(id, ({state, position, progress}) => {
      const {done, total} = progress;
      if (total) this.bar.value = done / total;
      this.#say(state === "queued" ? `waiting, place ${position}` : `painting frame ${done}${total ? ` of ${total}` : ""}`);
    }, signal);
    signal.removeEventListener("abort", drop);
    if (painted.state !== "done") throw new Error(painted.error ?? `the overlay was ${painted.state}`);
    return painted;
  }

  async #snapshot(place, suffix) {
    const {job, snapshot} = this.shown().pictures[place];
    this.#save({blob: await snapshot(), name: `${job.name.replace(/\.[^.]*$/, "")}_${suffix}.png`}, place);
  }

  /** Save a file; one of the second picture is called after its model too. */
  #save({blob, name}, place) {
    const model = place ? `_${this.shown().pictures[place].title.replace(/[^\p{L}\p{N}.-]+/gu, "-")}` : "";
    save({blob, name: name.replace(/(\.[^.]*)?$/, `${model}$1`)});
  }

  #say(text) {
    this.status.textContent = text;
  }

  #key(event) {
    if (event.key !== "Escape" || !this.menu.open) return;
    this.menu.open = false;
    this.summary.focus();
  }
}

function save({blob, name}) {
  const address = URL.createObjectURL(blob);
  element("a", {href: address, download: name}).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
