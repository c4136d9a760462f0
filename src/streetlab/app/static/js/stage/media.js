/** Video elements: events as promises, and the current picture with its own time. */

import {element} from "../controls/dom.js";

/** An unseen element that decodes a video for a canvas. */
export function sourceOf(src, muted) {
  return element("video", {class: "source", src, muted, playsInline: true, preload: "auto", "aria-hidden": "true", tabIndex: -1});
}

/** The element's current picture as a VideoFrame (to be closed), or null where there is none or no such thing. */
export function pictureOf(video) {
  if (!globalThis.VideoFrame || video.readyState < video.HAVE_CURRENT_DATA) return null;
  try {
    return new VideoFrame(video);
  } catch {
    return null;
  }
}

/** Resolves when the first frame can be taken; rejects with one line where the browser does not play the video. */
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

/** Sets the element to a time and resolves when it is there. */
export function sought(video, seconds) {
  video.currentTime = seconds;
  return until(video, "seeked");
}

/** Starts the element; where sound needs a person's click first, without sound. */
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

/** Resolves when the screen was painted with all that is there now. */
export const painted = () => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)));

function until(video, type, already = () => false) {
  return new Promise((resolve, reject) => {
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
  });
}
