/** What the page asks of the server, and how it waits for it. */

/** A request that was refused or lost; its message is one line for people. */
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

/** Whether a job has come to its end. */
export const isOver = job => OVER.has(job.state);

function faultOf(status, text, retryAfter) {
  let said = null;
  try {
    said = JSON.parse(text).error;
  } catch {
    // not ours: something between the page and the server answered
  }
  const seconds = Number.parseFloat(retryAfter ?? "");
  return new Fault(said ?? `the server answered ${status}`, status, Number.isFinite(seconds) ? seconds : null);
}

async function answered(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault(LOST);
  }
  if (!answer.ok) throw faultOf(answer.status, await answer.text(), answer.headers.get("Retry-After"));
  return answer;
}

async function asked(path, options = {}) {
  const answer = await answered(path, options);
  return answer.status === 204 ? null : answer.json();
}

const sent = body => ({method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});

const addressOf = parameters => `/api/predict?${new URLSearchParams(parameters)}`;

/** {models, limits} */
export const models = () => asked("/api/models");

export const jobOf = id => asked(`/api/jobs/${encodeURIComponent(id)}`);

/** Stop a job and drop its files; one that is gone already is no fault. */
export const dropJob = id => asked(`/api/jobs/${encodeURIComponent(id)}`, {method: "DELETE"}).catch(() => null);

/** Ask for a prediction of what an earlier job uploaded; the new job. */
export const askAgain = (source, parameters) => asked(addressOf({...parameters, source}), {method: "POST"});

/** Paint the overlay of a finished video with a plain paint style, from its stored ids; the new job. */
export const render = (id, paintStyle) => asked(`/api/jobs/${encodeURIComponent(id)}/render`, sent(paintStyle));

/** {blob, name}: parts of finished jobs, one file as it is or many as a zip; overlays are painted with a plain paint style. */
export async function download(jobs, paintStyle, parts, signal) {
  const answer = await answered("/api/download", {...sent({jobs, look: paintStyle, parts}), signal});
  const said = answer.headers.get("Content-Disposition") ?? "";
  const encoded = /filename\*=utf-8''([^;]+)/i.exec(said)?.[1];
  const name = encoded ? decodeURIComponent(encoded) : /filename="([^"]+)"/.exec(said)?.[1];
  return {blob: await answer.blob(), name: name ?? "streetlab"};
}

/** What a classification's map of a class and the ground of a segmentation of the same photo have in common. */
export const attention = (id, other, chosen) =>
  asked(`/api/jobs/${encodeURIComponent(id)}/attention?${new URLSearchParams({with: other, class: chosen})}`);

/**
 * Upload a file and ask for its prediction; the new job. `onSent` hears the share that was sent.
 * Fetch cannot tell how much was sent, so this is an XMLHttpRequest.
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

/** Resolves after some seconds; rejects at once when the signal aborts. */
function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(new DOMException("cancelled", "AbortError"));
    });
  });
}

/** `ask()` until it is not refused for a full queue; `onFull(seconds)` hears how long each wait lasts. */
export async function patiently(ask, onFull, signal) {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (error.status !== 429) throw error;
      const seconds = Math.max(0.1, error.retryAfter ?? 5);
      onFull(seconds);
      await pause(seconds, signal);
    }
  }
}

/** The job when it is over; `onState(job)` hears each state on the way. One lost answer is not the end. */
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
