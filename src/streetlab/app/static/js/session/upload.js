/** The files of this session and what models said about them: sending, waiting, asking again, cancelling. */

import * as api from "../api/client.js";

const SENDERS = 2;

/** Whether a file's own name or type says video; the server decides by its content. */
export const looksLikeVideo = file => file.type.startsWith("video/") || /\.(mp4|m4v|mov|mkv|webm|avi)$/i.test(file.name);

/** Runs at most so many asynchronous tasks at a time, in their order. */
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

/** Too large, of another format, damaged. */
const REFUSALS = [413, 415, 422];

/** One question about a file: a model and options, the job that answers, and how far it is. */
class Question {
  stop = new AbortController();
  state = "waiting";
  error = null;
  /** the file itself is not taken: asking again cannot help */
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

  get answered() {
    return this.state === "done" || this.state === "partial";
  }
}

/** A file, the questions asked about it, and the one whose answer is wanted now. */
export class Upload {
  static #count = 0;
  key = `u${++Upload.#count}`;
  /** the id of a job that holds the file on the server */
  source = null;
  wanted = null;
  #questions = new Map();
  #arriving = null;

  constructor(file, changed) {
    this.file = file;
    this.name = file.name || "pasted photo";
    this.isVideo = looksLikeVideo(file);
    this.changed = changed;
  }

  /** The finished job of the wanted question, or null. */
  get answer() {
    return this.wanted?.answered ? this.wanted.job : null;
  }

  /**
   * Want the answer to these parameters: at once where it is known, else the server is asked, without sending the file
   * a second time. Answers to the question; it may end as failed or cancelled.
   */
  async want(parameters, lane) {
    const before = this.wanted;
    this.wanted = this.#questionOf(parameters);
    if (before && before !== this.wanted && !before.over && before.job && before.job.id !== this.source) this.#drop(before);
    this.changed();
    return this.#answered(this.wanted, lane);
  }

  /** The answer of a second model, beside the wanted one. */
  async also(parameters, lane) {
    return this.#answered(this.#questionOf(parameters), lane);
  }

  /** Stop what is wanted; the server forgets it. */
  cancel() {
    if (this.wanted && !this.wanted.over) this.#drop(this.wanted);
  }

  /** What was answered cannot be shown (its files are gone): say why, and let it be asked again. */
  fail(error) {
    Object.assign(this.wanted, {state: "failed", error});
    this.changed();
  }

  /** Find out which answers the server has forgotten, so that they can be asked for again. */
  async recheck() {
    const answers = [...this.#questions.values()].filter(({answered}) => answered);
    await Promise.all(answers.map(question => api.jobOf(question.job.id).catch(({status}) => {
      if (status === 404) Object.assign(question, {state: "failed", error: "the server has forgotten this answer"});
    })));
    this.changed();
  }

  /** Ask the wanted question once more. */
  retry(lane) {
    const {parameters} = this.wanted;
    this.#questions.delete(keyOf(parameters));
    return this.want(parameters, lane);
  }

  /** Forget all answers; the server drops the jobs and the file. */
  forget() {
    for (const question of this.#questions.values()) this.#drop(question);
    this.#questions.clear();
  }

  #questionOf(parameters) {
    const key = keyOf(parameters);
    const known = this.#questions.get(key);
    const stale = known?.over && !known.answered;
    if (known && !stale) return known;
    const question = new Question(parameters);
    this.#questions.set(key, question);
    return question;
  }

  #drop(question) {
    question.stop.abort();
    if (!question.job) return;
    if (question.job.id === this.source) this.source = null;
    api.dropJob(question.job.id);
  }

  #answered(question, lane) {
    question.running ??= this.#run(question, lane);
    return question.running;
  }

  async #run(question, lane) {
    const {signal} = question.stop;
    const tell = changes => {
      Object.assign(question, changes);
      this.changed();
    };
    try {
      const job = await this.#ask(question, lane, tell);
      tell({job, state: job.state});
      const over = await api.finished(job.id, now => tell({job: now, state: now.state}), signal);
      tell({job: over, state: over.state, error: over.error ?? null});
    } catch (error) {
      if (signal.aborted) tell({state: "cancelled", error: null});
      else tell({state: "failed", error: error.message, refused: REFUSALS.includes(error.status)});
    }
    return question;
  }

  /** The job that answers: by the file that the server has already, else by sending it. */
  async #ask(question, lane, tell) {
    const {parameters, stop: {signal}} = question;
    const onFull = wait => tell({state: "full", wait});
    if (this.#arriving) await this.#arriving.catch(() => null);
    if (this.source) {
      try {
        return await api.patiently(() => api.askAgain(this.source, parameters), onFull, signal);
      } catch (error) {
        if (error.status !== 404 || signal.aborted) throw error;
        this.source = null; // it expired: the file goes there once more
      }
    }
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
    const upload = new Upload(file, () => this.dispatchEvent(new CustomEvent("change", {detail: upload})));
    this.all.push(upload);
    return upload;
  }

  remove(upload) {
    upload.forget();
    this.all = this.all.filter(other => other !== upload);
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
