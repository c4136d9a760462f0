/** The client of the REST API: requests, and waiting for jobs. */

/**
 * A model and a job as the server describes them; `/api/docs` lists all of their fields.
 * @typedef {{id: string, task: string, activations: boolean, classes: {name: string, color: string, category?: string,
 *   criterion?: string}[], [field: string]: any}} Model
 * @typedef {{id: string, name: string, kind: string, state: string, model: string, result: any, [field: string]: any}} Job
 */

/** A refused or failed request; its message is one line for people. */
export class Fault extends Error {
  constructor(message, status = 0, retryAfter = null) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

const LOST = "the server does not answer";
const PAUSE = {first: 200, most: 2000};
const OVER = new Set(["done", "partial", "failed", "cancelled"]);

/** True if a job has ended. */
export const isOver = job => OVER.has(job.state);

function faultOf(status, text, retryAfter) {
  let message = null;
  try {
    message = JSON.parse(text).error;
  } catch {
    // no JSON: the response comes from a proxy
  }
  const seconds = Number.parseFloat(retryAfter ?? "");
  return new Fault(message ?? `the server answered ${status}`, status, Number.isFinite(seconds) ? seconds : null);
}

async function fetchChecked(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault(LOST);
  }
  if (!response.ok) throw faultOf(response.status, await response.text(), response.headers.get("Retry-After"));
  return response;
}

async function requestJson(path, options = {}) {
  const response = await fetchChecked(path, options);
  return response.status === 204 ? null : response.json();
}

const sent = body => ({method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});

const addressOf = parameters => `/api/predict?${new URLSearchParams(parameters)}`;

/** {models, limits} */
export const models = () => requestJson("/api/models");

export const jobOf = id => requestJson(`/api/jobs/${encodeURIComponent(id)}`);

/** Cancel or delete a job; a job that is gone already is no fault. */
export const dropJob = id => requestJson(`/api/jobs/${encodeURIComponent(id)}`, {method: "DELETE"}).catch(() => null);

/** Predict the upload of an earlier job again; returns the new job. */
export const predictAgain = (source, parameters) => requestJson(addressOf({...parameters, source}), {method: "POST"});

/** Paint the overlay of a finished video from its stored ids; returns the new job. */
export const render = (id, paintStyle) => requestJson(`/api/jobs/${encodeURIComponent(id)}/render`, sent(paintStyle));

/** Download parts of finished jobs as {blob, name}: one file as it is, or many as a zip. */
export async function download(jobs, paintStyle, parts, signal) {
  const response = await fetchChecked("/api/download", {...sent({jobs, look: paintStyle, parts}), signal});
  const disposition = response.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=utf-8''([^;]+)/i.exec(disposition)?.[1];
  const name = encoded ? decodeURIComponent(encoded) : /filename="([^"]+)"/.exec(disposition)?.[1];
  return {blob: await response.blob(), name: name ?? "streetlab"};
}

/** Compare a classification's map of a class with the ground of a segmentation of the same photo. */
export const attention = (id, other, chosen) =>
  requestJson(`/api/jobs/${encodeURIComponent(id)}/attention?${new URLSearchParams({with: other, class: chosen})}`);

/**
 * Upload a file to predict; returns the new job. `onSent` receives the share that was sent.
 * An XMLHttpRequest, because fetch reports no progress of an upload.
 */
export function upload(file, parameters, onSent, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const aborted = () => reject(new DOMException("cancelled", "AbortError"));
    if (signal.aborted) {
      aborted();
      return;
    }
    request.open("POST", addressOf({...parameters, name: file.name}));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = event => event.lengthComputable && onSent(event.loaded / event.total);
    request.onload = () => {
      if (request.status === 202) resolve(JSON.parse(request.responseText));
      else reject(faultOf(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(new Fault(LOST));
    request.onabort = aborted;
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

/** Resolve after some seconds; reject at once when the signal aborts. */
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });
}

/** Repeat `send()` while the server takes no job; `onFull(seconds, why)` receives the length of each wait. */
export async function patiently(send, onFull, signal) {
  for (;;) {
    try {
      return await send();
    } catch (error) {
      if (error.status !== 429) throw error;
      const seconds = Math.max(0.1, error.retryAfter ?? 5);
      onFull(seconds, error.message.split(";")[0]);
      await pause(seconds, signal);
    }
  }
}

/** Wait until a job is over and return it; `onState(job)` receives each state. Single lost responses are ignored. */
export async function finished(id, onState, signal) {
  let wait = PAUSE.first;
  let lost = 0;
  for (;;) {
    await pause(wait / 1000, signal);
    let job;
    try {
      job = await jobOf(id);
      lost = 0;
    } catch (error) {
      if (error.status || ++lost > 5) throw error;
      continue;
    }
    onState(job);
    if (isOver(job)) return job;
    wait = Math.min(PAUSE.most, job.position ? PAUSE.first * (1 + job.position) : wait * 1.3);
  }
}
