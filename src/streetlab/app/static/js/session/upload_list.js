/** The list of files under the stage: thumbnail, state, progress, cancel, retry, remove. */

import {element} from "../controls/dom.js";

const THUMBNAIL = 160;

/** The state of the wanted prediction in one line. */
export function stateLine(upload) {
  const prediction = upload.wanted;
  if (!prediction) return "not asked yet";
  const {state, job} = prediction;
  switch (state) {
    case "waiting": return "waiting";
    case "sending": return prediction.sent < 1 ? `sending, ${Math.floor(100 * prediction.sent)} %` : "sent";
    case "full": return `${prediction.why}; again in ${Math.ceil(prediction.wait)} s`;
    case "queued": return job.position ? `queued, number ${job.position}` : "queued";
    case "running": return runningLine(job.progress);
    case "partial": return "done in part";
    case "failed": return prediction.error || "failed";
    default: return state;
  }
}

function runningLine(progress) {
  const {done, total, per_second: speed, seconds_left: left} = progress ?? {};
  const said = [total ? `${Math.floor(100 * done / total)} %` : "at work"];
  if (speed && total > 1) said.push(`${speed.toFixed(1)} frames/s`);
  if (left !== null && left !== undefined && total > 1) said.push(`${left < 90 ? `${Math.ceil(left)} s` : `${Math.ceil(left / 60)} min`} left`);
  return said.join(", ");
}

/** The value of the progress bar (0-1), or null for "some time". */
function shareOf({state, sent, job}) {
  if (state === "sending") return sent;
  const {done, total} = job?.progress ?? {};
  return state === "running" && total ? done / total : null;
}

/** Make a thumbnail of the file; a file that the browser cannot read keeps its plain tile. */
async function drawThumbnail(canvas, file, address) {
  try {
    const bitmap = await createImageBitmap(file ?? await (await fetch(address)).blob(), {resizeHeight: THUMBNAIL, resizeQuality: "medium"});
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    canvas.classList.add("drawn");
  } catch {
    // a video, or a format that only the server knows
  }
}

/** Keep `list` (an ol) in step with the uploads. */
export class UploadList {
  #rows = new Map();
  #decoding = Promise.resolve();

  /** @param {{onOpen, onCancel, onRetry, onRemove}} actions each called with the upload */
  constructor(list, uploads, actions) {
    this.list = list;
    this.uploads = uploads;
    this.actions = actions;
    this.opened = null;
    uploads.addEventListener("change", event => this.update(event.detail));
  }

  /** Mark the upload that the stage shows. */
  open(upload) {
    this.opened = upload;
    for (const [other, row] of this.#rows) row.open.setAttribute("aria-pressed", String(other === upload));
    this.#rows.get(upload)?.row.scrollIntoView({block: "nearest", inline: "nearest"});
  }

  update(upload) {
    if (!this.uploads.all.includes(upload)) {
      this.#remove(upload);
      return;
    }
    if (!this.#rows.has(upload)) this.#add(upload);
    const entry = this.#rows.get(upload);
    const {row, open, state, bar, cancel, retry} = entry;
    const prediction = upload.wanted;
    const busy = Boolean(prediction && !prediction.over);
    row.dataset.state = prediction?.state ?? "waiting";
    row.dataset.id = prediction?.job?.id ?? upload.key;
    state.textContent = state.title = stateLine(upload);
    bar.hidden = !busy;
    const share = busy ? shareOf(prediction) : null;
    if (share === null) bar.removeAttribute("value");
    else bar.value = share;
    if (!entry.drawn && !upload.isVideo && (upload.file || upload.finishedJob)) {
      entry.drawn = true;
      const address = upload.finishedJob?.result.files.photo; // after a reload, for the file itself is gone
      this.#decoding = this.#decoding.then(() => drawThumbnail(entry.picture, upload.file, address));
    }
    const left = [cancel, retry].includes(document.activeElement);
    cancel.hidden = !busy;
    retry.hidden = !prediction?.over || prediction.succeeded || prediction.refused;
    if (left && /** @type {HTMLElement|null} */ (document.activeElement)?.hidden !== false) open.focus();
  }

  /** Remove a row; keyboard focus moves to its neighbour. */
  #remove(upload) {
    const row = this.#rows.get(upload)?.row;
    if (!row) return;
    const next = row.contains(document.activeElement) && (row.nextElementSibling ?? row.previousElementSibling);
    row.remove();
    this.#rows.delete(upload);
    if (next) next.querySelector(".open").focus();
  }

  #add(upload) {
    const {onOpen, onCancel, onRetry, onRemove} = this.actions;
    const button = (name, sign, does) =>
      element("button", {type: "button", class: name, title: name, "aria-label": `${name} ${upload.name}`, on: {click: () => does(upload)}}, sign);
    const picture = element("canvas", {class: "thumbnail", "aria-hidden": "true"});
    const state = element("span", {class: "state"});
    const bar = element("progress", {max: 1, hidden: true, "aria-label": `progress of ${upload.name}`});
    const open = element(
      "button", {type: "button", class: "open", "aria-pressed": "false", on: {click: () => onOpen(upload)}},
      picture, element("span", {class: "name", title: upload.name}, upload.name), state,
    );
    const cancel = button("cancel", "stop", onCancel);
    const retry = button("retry", "try again", onRetry);
    const row = element("li", {class: "job"}, open, bar, cancel, retry, button("remove", "×", onRemove));
    row.classList.toggle("video", upload.isVideo);
    this.#rows.set(upload, {row, open, picture, state, bar, cancel, retry, drawn: false});
    this.list.append(row);
    if (upload === this.opened) this.open(upload);
  }
}
