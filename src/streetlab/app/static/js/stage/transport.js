/** The controls of a video and their keys: play, step, seek, speed, loop, sound. */

import {element} from "../controls/dom.js";
import {isTaken, keysAreOn} from "../controls/shortcuts.js";

const SPEEDS = [0.25, 0.5, 1, 1.5, 2];
const SHAPES = {
  play: "M6 4l14 8-14 8z",
  pause: "M6 4h4v16H6zM14 4h4v16h-4z",
  back: "M18 5v14l-9-7zM6 5h2.5v14H6z",
  on: "M6 5v14l9-7zM15.5 5H18v14h-2.5z",
  loop: "M7 7h9V4l5 4.5-5 4.5v-3H9v3H7zM17 17H8v3l-5-4.5L8 11v3h7v-3h2z",
  sound: "M4 9v6h4l5 4.5v-15L8 9zM15.5 8.5a5 5 0 0 1 0 7zM15.5 5a8 8 0 0 1 0 14v-2a6 6 0 0 0 0-10z",
  silent: "M4 9v6h4l5 4.5v-15L8 9zM16 9l5 5-1 1-5-5zM20 9l1 1-5 5-1-1z",
};

/** @import {FrameTimes} from "./frame_times.js" @import {SyncedVideos} from "./synced_videos.js" */

export class Transport {
  #videos;
  #times;
  #leader;
  #stop = new AbortController();

  /**
   * @param {Element} container receives the controls
   * @param {{videos: SyncedVideos, times: FrameTimes, leader: HTMLVideoElement, audio: boolean}} parts the videos to control
   * @param {(error: Error) => void} onError called when a frame cannot be shown
   */
  constructor(container, {videos, times, leader, audio}, onError) {
    this.#videos = videos;
    this.#times = times;
    this.#leader = leader;
    this.onError = onError;
    this.playing = button("play", "play", () => this.#toggle());
    this.place = element("input", {
      type: "range", class: "place", min: "0", max: String(times.count - 1), step: "1", value: "0", "aria-label": "frame",
      on: {input: () => this.#tell(videos.seek(Number(this.place.value)))},
    });
    this.time = element("output", {class: "time", "aria-live": "off"});
    const speed = element("select", {class: "speed", "aria-label": "speed", on: {change: () => { videos.rate = Number(speed.value); }}},
      ...SPEEDS.map(rate => element("option", {value: String(rate), selected: rate === 1}, `${rate}×`)));
    const loop = button("loop", "start again at the end", () => {
      videos.loop = !videos.loop;
      loop.setAttribute("aria-pressed", String(videos.loop));
    });
    loop.setAttribute("aria-pressed", "false");
    this.sound = button("sound", "sound", () => { leader.muted = !leader.muted; });
    this.sound.hidden = !audio;
    leader.addEventListener("volumechange", () => this.#showSound(), {signal: this.#stop.signal});
    this.box = element("div", {class: "transport", role: "group", "aria-label": "video"},
      button("back", "one frame back (,)", () => this.#tell(videos.step(-1))),
      this.playing,
      button("on", "one frame on (.)", () => this.#tell(videos.step(1))),
      this.place, this.time, speed, loop, this.sound);
    container.append(this.box);
    document.addEventListener("keydown", event => this.#key(event), {signal: this.#stop.signal});
    this.#showSound();
    this.update();
  }

  /** Show the current time and state. */
  update() {
    const {frame, playing} = this.#videos;
    const last = this.#times.count - 1;
    const seconds = this.#times.startOf(frame) - this.#times.startOf(0);
    const said = `${clock(seconds)} / ${clock(this.#times.seconds)}`;
    this.place.value = String(frame);
    this.place.style.setProperty("--share", last ? String(frame / last) : "0");
    this.place.setAttribute("aria-valuetext", `frame ${frame + 1} of ${last + 1}, ${seconds.toFixed(2)} seconds`);
    this.time.replaceChildren(said, element("span", {class: "number"}, `frame ${frame + 1} of ${last + 1}`));
    show(this.playing, playing ? "pause" : "play", playing ? "pause (space)" : "play (space)");
  }

  destroy() {
    this.#stop.abort();
    this.box.remove();
  }

  #toggle() {
    if (this.#videos.playing) this.#tell(this.#videos.pause());
    else this.#videos.play();
  }

  #tell(moved) {
    moved.catch(this.onError);
  }

  #showSound() {
    const {muted} = this.#leader;
    show(this.sound, muted ? "silent" : "sound", "sound");
    this.sound.setAttribute("aria-pressed", String(!muted));
  }

  #key(event) {
    if (!keysAreOn() || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTaken(event.key, event.target)) return;
    // space presses the button that has the focus
    if (event.key === " " && event.target.closest("button, input[type=checkbox], a")) return;
    const does = {" ": () => this.#toggle(), ",": () => this.#tell(this.#videos.step(-1)), ".": () => this.#tell(this.#videos.step(1))}[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }
}

/** Seconds as "1:05.2". */
function clock(seconds) {
  const tenths = Math.floor(10 * seconds + 0.5);
  const rest = (tenths % 600) / 10;
  return `${Math.floor(tenths / 600)}:${rest < 10 ? "0" : ""}${rest.toFixed(1)}`;
}

function button(shape, label, onClick) {
  const made = element("button", {type: "button", class: `control ${shape}`, on: {click: onClick}});
  show(made, shape, label);
  return made;
}

function show(made, shape, label) {
  if (made.dataset.shape !== shape) {
    const space = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(space, "svg");
    const path = document.createElementNS(space, "path");
    picture.setAttribute("viewBox", "0 0 24 24");
    picture.setAttribute("aria-hidden", "true");
    path.setAttribute("d", SHAPES[shape]);
    picture.append(path);
    made.replaceChildren(picture);
    made.dataset.shape = shape;
  }
  made.title = label;
  made.setAttribute("aria-label", label);
}
