/** Video elements: events as promises, and the current picture with its own time. */

import {element} from "../controls/dom.js";

/** Create a hidden element that decodes a video for a canvas. */
export function sourceOf(src, muted) {
  return element("video", {class: "source", src, muted, playsInline: true, preload: "auto", "aria-hidden": "true", tabIndex: -1});
}

/** Get the current picture as a VideoFrame (to be closed); null if there is none or the browser has no VideoFrame. */
export function pictureOf(video) {
  if (!globalThis.VideoFrame || video.readyState < video.HAVE_CURRENT_DATA) return null;
  try {
    return new VideoFrame(video);
  } catch {
    return null;
  }
}

/** Wait for the first frame; rejects with one line if the browser cannot play the video. */
export async function firstFrame(video) {
  await until(video, "loadeddata", () => video.readyState >= video.HAVE_CURRENT_DATA);
  // the event may come before the picture
  const patience = performance.now() + 2000;
  while (globalThis.VideoFrame && performance.now() < patience) {
    const picture = pictureOf(video);
    if (picture) {
      picture.close();
      return;
    }
    await new Promise(resolve => setTimeout(resolve, 8));
  }
}

/** Seek to a time; resolves when the element is there. */
export function sought(video, seconds) {
  video.currentTime = seconds;
  return until(video, "seeked");
}

/** Start playing; muted if the browser requires a click before sound. */
export async function started(video) {
  try {
    await video.play();
  } catch (error) {
    if (error.name === "NotAllowedError" && !video.muted) {
      video.muted = true;
      await started(video);
    } else if (error.name !== "AbortError") throw error; // paused before it began
  }
}

/** Wait until the screen has been painted. */
export const painted = () => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));

function until(video, type, already = () => false) {
  return /** @type {Promise<void>} */ (new Promise((resolve, reject) => {
    const over = new AbortController();
    const end = settle => value => {
      over.abort();
      settle(value);
    };
    const failed = () => end(reject)(new Error(`this browser does not play the video: ${video.error?.message || "no reason given"}`));
    if (video.error) failed();
    else if (already()) resolve();
    else {
      video.addEventListener(type, end(resolve), {signal: over.signal});
      video.addEventListener("error", failed, {signal: over.signal});
      video.addEventListener("emptied", end(resolve), {signal: over.signal});
    }
  }));
}
