/** The files of this session and their predictions: send, wait, repeat, cancel. */

import * as api from "../api/client.js";

const SENDERS = 2;

/** Guess from name and type whether a file is a video; the server decides by its content. */
export const looksLikeVideo = file => file.type.startsWith("video/") || /\.(mp4|m4v|mov|mkv|webm|avi)$/i.test(file.name);

/** Run at most `width` asynchronous tasks at a time, in their order. */
class Lane {
  #free;
  #waiting = [];

  constructor(width) {
    this.#free = width;
  }

  async run(task) {
    if (this.#free) this.#free--;
    else await new Promise(resolve => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

const GONE = 410;
/** HTTP statuses of refused files: forgotten, too large, another format, damaged. */
const REFUSALS = [GONE, 413, 415, 422];

/** One prediction of a file: the model and options, the job, and its progress. */
class Prediction {
  stop = new AbortController();
  state = "waiting";
  error = null;
  /** the file itself is refused: a retry cannot help */
  refused = false;
  sent = 0;
  wait = 0;
  job = null;
  running = null;

  constructor(parameters) {
    this.parameters = parameters;
  }

  get over() {
    return ["done", "partial", "failed", "cancelled"].includes(this.state);
  }

  get succeeded() {
    return this.state === "done" || this.state === "partial";
  }
}

/** A file, its predictions, and the one that is wanted now. */
export class Upload {
  static #count = 0;
  key = `u${++Upload.#count}`;
  /** the id of a job that holds the file on the server */
  source = null;
  wanted = null;
  #predictions = new Map();
  #arriving = null;

  constructor(file, changed) {
    this.file = file;
    this.name = file.name || "pasted photo";
    this.isVideo = looksLikeVideo(file);
    this.changed = changed;
  }

  /**
   * A file of before a reload: its bytes are on the server alone.
   * @param {{name: string, isVideo: boolean, source: string, parameters: Record<string, string>, job: string}} kept
   */
  static again({name, isVideo, source, parameters, job}, changed) {
    const upload = new Upload({name, type: isVideo ? "video/" : ""}, changed);
    upload.file = null;
    upload.source = source;
    upload.wanted = upload.#predictionOf(parameters);
    upload.wanted.job = {id: job};
    return upload;
  }

  /** What `again` takes; null before the server has the file. */
  get kept() {
    const {name, isVideo, source, wanted} = this;
    return wanted?.job && source ? {name, isVideo, source, parameters: wanted.parameters, job: wanted.job.id} : null;
  }

  /** The finished job of the wanted prediction, or null. */
  get finishedJob() {
    return this.wanted?.succeeded ? this.wanted.job : null;
  }

  /**
   * Want the prediction with these parameters: a known one, or a new one, for which the file is not sent a second time.
   * Resolves to the prediction when it is over; it may have failed or been cancelled.
   */
  async want(parameters, lane) {
    const before = this.wanted;
    this.wanted = this.#predictionOf(parameters);
    if (before && before !== this.wanted && !before.over && before.job && before.job.id !== this.source) this.#drop(before);
    this.changed();
    return this.#finished(this.wanted, lane);
  }

  /** The prediction of a second model, beside the wanted one. */
  async also(parameters, lane) {
    return this.#finished(this.#predictionOf(parameters), lane);
  }

  /** Cancel the wanted prediction; the server deletes it. */
  cancel() {
    if (this.wanted && !this.wanted.over) this.#drop(this.wanted);
  }

  /** Mark the wanted prediction as failed because it cannot be shown (its files are gone). */
  fail(error) {
    Object.assign(this.wanted, {state: "failed", error});
    this.changed();
  }

  /** Mark the predictions that the server has deleted, so that they can be repeated. */
  async recheck() {
    const finished = [...this.#predictions.values()].filter(({succeeded}) => succeeded);
    await Promise.all(finished.map(prediction => api.jobOf(prediction.job.id).catch(({status}) => {
      if (status === 404) Object.assign(prediction, {state: "failed", error: "the server has forgotten this answer"});
    })));
    this.changed();
  }

  /** Repeat the wanted prediction. */
  retry(lane) {
    const {parameters} = this.wanted;
    this.#predictions.delete(keyOf(parameters));
    return this.want(parameters, lane);
  }

  /** Drop all predictions; the server deletes the jobs and the file. */
  forget() {
    for (const prediction of this.#predictions.values()) this.#drop(prediction);
    this.#predictions.clear();
  }

  #predictionOf(parameters) {
    const key = keyOf(parameters);
    const known = this.#predictions.get(key);
    const stale = known?.over && !known.succeeded;
    if (known && !stale) return known;
    const prediction = new Prediction(parameters);
    this.#predictions.set(key, prediction);
    return prediction;
  }

  #drop(prediction) {
    prediction.stop.abort();
    if (!prediction.job) return;
    if (prediction.job.id === this.source) this.source = null;
    api.dropJob(prediction.job.id);
  }

  #finished(prediction, lane) {
    prediction.running ??= this.#run(prediction, lane);
    return prediction.running;
  }

  async #run(prediction, lane) {
    const {signal} = prediction.stop;
    const tell = changes => {
      Object.assign(prediction, changes);
      this.changed();
    };
    try {
      const job = prediction.job ?? await this.#submit(prediction, lane, tell);
      tell({job, state: job.state ?? prediction.state});
      const over = await api.finished(job.id, now => tell({job: now, state: now.state}), signal);
      tell({job: over, state: over.state, error: over.error ?? null});
    } catch (error) {
      if (signal.aborted) tell({state: "cancelled", error: null});
      else tell({state: "failed", error: error.message, refused: REFUSALS.includes(error.status)});
    }
    return prediction;
  }

  /** Create the job: from the file that the server has already, else by sending it. */
  async #submit(prediction, lane, tell) {
    const {parameters, stop: {signal}} = prediction;
    const onFull = (wait, why) => tell({state: "full", wait, why});
    if (this.#arriving) await this.#arriving.catch(() => null);
    if (this.source) {
      try {
        return await api.patiently(() => api.predictAgain(this.source, parameters), onFull, signal);
      } catch (error) {
        if (error.status !== 404 || signal.aborted) throw error;
        this.source = null; // it expired: send the file again
      }
    }
    if (!this.file) throw new api.Fault("the server has forgotten this file; choose it again", GONE);
    this.#arriving = lane.run(() => {
      signal.throwIfAborted();
      tell({state: "sending", sent: 0});
      return api.patiently(() => api.upload(this.file, parameters, sent => tell({state: "sending", sent}), signal), onFull, signal);
    });
    try {
      const job = await this.#arriving;
      this.source = job.id;
      return job;
    } finally {
      this.#arriving = null;
    }
  }
}

const keyOf = parameters => JSON.stringify(Object.entries(parameters).sort());

/** All files of this session in the order they came; "change" with the upload as `detail` after each change of one. */
export class Uploads extends EventTarget {
  lane = new Lane(SENDERS);
  all = [];

  add(file) {
    const upload = new Upload(file, () => this.#changed(upload));
    this.all.push(upload);
    return upload;
  }

  /** Add a file of before a reload. */
  addAgain(kept) {
    const upload = Upload.again(kept, () => this.#changed(upload));
    this.all.push(upload);
    this.#changed(upload);
    return upload;
  }

  remove(upload) {
    upload.forget();
    this.all = this.all.filter(other => other !== upload);
    this.#changed(upload);
  }

  #changed(upload) {
    this.dispatchEvent(new CustomEvent("change", {detail: upload}));
  }
}

/**
 * Listen for files: dropped anywhere, chosen in an input, pasted.
 * @param {HTMLInputElement[]} inputs
 * @param {(files: File[]) => void} onFiles
 */
export function receiveFiles(inputs, onFiles) {
  const give = list => {
    const files = [...list];
    if (files.length) onFiles(files);
  };
  let inside = 0;
  const mark = change => {
    inside = Math.max(0, inside + change);
    document.body.classList.toggle("dropping", inside > 0);
  };
  const holdsFiles = event => event.dataTransfer?.types.includes("Files");
  for (const input of inputs) {
    input.addEventListener("change", () => {
      give(input.files);
      input.value = ""; // the same file may be chosen again
    });
  }
  document.addEventListener("dragenter", event => holdsFiles(event) && mark(1));
  document.addEventListener("dragleave", event => holdsFiles(event) && mark(-1));
  document.addEventListener("dragover", event => holdsFiles(event) && event.preventDefault());
  document.addEventListener("drop", event => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    mark(-inside);
    give(event.dataTransfer.files);
  });
  document.addEventListener("paste", event => give(event.clipboardData?.files ?? []));
}
