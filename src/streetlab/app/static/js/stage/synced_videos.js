/**
 * Play videos of the same frames in step: the photo and its class ids.
 *
 * Browsers promise neither that two videos advance together nor that what a canvas draws from one is the frame whose
 * time was just reported. So each picture is taken as a VideoFrame, which carries its own time; pictures are paired by
 * frame number, and only pairs are drawn. While playing, the first video leads (it has the sound) and the speed of the
 * others is adjusted a little. Where the machine decodes too slowly to form pairs, or the browser has no VideoFrames with
 * their own times, the player steps: it seeks each frame as when paused, without sound.
 */

import {firstFrame, painted, pictureOf, sought, started} from "./media.js";

const KEPT = 6;
const STARVED = {milliseconds: 1200, frames: 3};
const LOST_SECONDS = 0.7;
const PATIENCE = 5000;

/** @import {FrameTimes} from "./frame_times.js" */

export class SyncedVideos {
  #videos;
  #times;
  #draw;
  #listeners;
  #offsets;
  #kept;
  #exact = false;
  #rate = 1;
  #run = 0;
  #wanted = null;
  #aim = null;
  #settling = null;
  #drawn = Promise.resolve();
  #gone = false;

  /** The number of the frame that is drawn. */
  frame = 0;
  playing = false;
  /** True while playing steps from frame to frame, without sound. */
  stepping = false;
  loop = false;

  /**
   * @param {HTMLVideoElement[]} videos the leading one first
   * @param {FrameTimes} times of the frames in all of them
   * @param {(frame: number, pictures: CanvasImageSource[]) => Promise<void>|void} draw receives a picture of each
   *   video, all of the same frame; is not called again before it is done
   * @param {{onChange?: () => void, onError?: (error: Error) => void}} listeners: another frame is drawn, or `playing`
   *   or `stepping` changed; a frame could not be shown
   */
  constructor(videos, times, draw, {onChange = () => {}, onError = () => {}} = {}) {
    this.#videos = videos;
    this.#times = times;
    this.#draw = draw;
    this.#listeners = {onChange, onError};
    this.#offsets = videos.map(() => 0);
    this.#kept = videos.map(() => new Map());
  }

  /** Wait for each video's first frame and draw it; rejects where one does not play. */
  async load() {
    await Promise.all(this.#videos.map(firstFrame));
    if (this.#gone) return;
    this.#offsets = this.#videos.map(video => timeShown(video) - this.#times.startOf(0));
    await Promise.all(this.#videos.map((video, which) => sought(video, this.#middle(0, which))));
    // a picture shall have the time of its frame, not the time of the seek
    this.#exact = this.#videos.every((video, which) => {
      const time = timeShown(video) - this.#offsets[which];
      return time - this.#times.startOf(0) < this.#times.middleOf(0) - time;
    });
    await this.seek(0);
  }

  /** Seek a frame; resolves when it is drawn. Of several requests in the meantime only the last is drawn. */
  seek(frame) {
    this.#wanted = this.#times.clamp(frame);
    this.#settling ??= this.#settle();
    return this.#settling;
  }

  /** Pause and step `by` frames forward or back. */
  step(by) {
    const from = this.#headed();
    this.#stop();
    return this.seek(from + by);
  }

  play() {
    if (this.playing) return;
    this.playing = true;
    this.stepping = !this.#exact;
    this.#listeners.onChange();
    if (this.frame >= this.#times.count - 1) this.#seekOrTell(0);
    else if (!this.#settling) this.#begin();
  }

  /** Pause; resolves when the current frame stands still. */
  async pause() {
    if (!this.playing) return;
    const on = this.#headed();
    this.#stop();
    await this.seek(on);
  }

  get rate() {
    return this.#rate;
  }

  set rate(rate) {
    this.#rate = rate;
    for (const video of this.#videos) video.playbackRate = rate;
  }

  destroy() {
    this.#gone = true;
    this.playing = false;
    this.#halt();
    for (const video of this.#videos) {
      video.removeAttribute("src");
      video.load();
    }
  }

  // standing still

  async #settle() {
    this.#halt();
    try {
      while (this.#wanted !== null && !this.#gone) {
        this.#aim = this.#wanted;
        this.#wanted = null;
        await this.#drawAt(this.#aim);
      }
    } catch (error) {
      this.#stop();
      throw error;
    } finally {
      this.#settling = null;
      this.#aim = null;
    }
    if (this.playing) this.#begin();
    return this.frame;
  }

  /** The frame that is wanted, being sought, shown or drawn. */
  #headed() {
    return this.#wanted ?? this.#aim ?? (this.playing && !this.stepping ? this.#leading() : this.frame);
  }

  async #drawAt(frame) {
    const run = this.#run;
    const pictures = await Promise.all(this.#videos.map((video, which) => this.#arrive(video, which, frame, run)));
    if (pictures.every(Boolean)) await this.#present(frame, pictures);
    else for (const picture of pictures) picture?.close?.();
  }

  /** Get the picture of a frame; null if another one is wanted by now. */
  async #arrive(video, which, frame, run) {
    const there = this.#pictureIf(video, which, frame);
    if (there) return there;
    await sought(video, this.#middle(frame, which));
    if (!this.#exact) {
      await painted();
      return run === this.#run ? video : null;
    }
    const until = performance.now() + PATIENCE;
    while (performance.now() < until) {
      if (run !== this.#run) return null;
      const picture = this.#pictureIf(video, which, frame);
      if (picture) return picture;
      if (this.#wanted !== null) return null;
      await new Promise(resolve => setTimeout(resolve, 8));
    }
    throw new Error(`frame ${frame + 1} of the video cannot be shown`);
  }

  #pictureIf(video, which, frame) {
    if (!this.#exact || video.seeking) return null;
    const picture = pictureOf(video);
    if (!picture || this.#numberOf(picture, which) === frame) return picture;
    picture.close();
    return null;
  }

  #middle(frame, which) {
    return this.#times.middleOf(frame) + this.#offsets[which];
  }

  #numberOf(picture, which) {
    return this.#times.nearest(picture.timestamp / 1e6 - this.#offsets[which]);
  }

  /** Draw pictures and close them, one set after the other. */
  #present(frame, pictures) {
    const turn = this.#drawn.then(async () => {
      try {
        if (this.#gone) return;
        await this.#draw(frame, pictures);
        this.frame = frame;
        this.#listeners.onChange();
      } finally {
        for (const picture of pictures) picture.close?.();
      }
    });
    this.#drawn = turn.catch(() => {});
    return turn;
  }

  // running

  #begin() {
    const run = ++this.#run;
    const running = this.stepping ? this.#stepAlong(run) : this.#follow(run);
    running.catch(error => {
      if (run !== this.#run || this.#gone) return;
      this.#stop();
      this.#listeners.onError(error);
    });
  }

  #halt() {
    this.#run++;
    for (const video of this.#videos) video.pause();
    for (const kept of this.#kept) {
      for (const picture of kept.values()) picture.close();
      kept.clear();
    }
  }

  #stop() {
    const wasPlaying = this.playing;
    this.playing = false;
    this.#halt();
    if (wasPlaying) this.#listeners.onChange();
  }

  #seekOrTell(frame) {
    this.seek(frame).catch(this.#listeners.onError);
  }

  /** At each repaint of the screen: take the pictures of all videos and draw a matching set. */
  async #follow(run) {
    const [leader, ...others] = this.#videos;
    this.rate = this.#rate;
    await Promise.all(this.#videos.map(started));
    let fed = performance.now();
    let before = fed;
    for (;;) {
      await new Promise(requestAnimationFrame);
      if (run !== this.#run) return;
      const now = performance.now();
      const asleep = now - before > STARVED.milliseconds / 2;
      before = now;
      this.#videos.forEach((video, which) => this.#keep(video, which));
      const isFed = await this.#presentPair() || asleep || this.#videos.some(isWaiting);
      if (run !== this.#run) return;
      if (isFed) fed = performance.now();
      if (leader.ended || this.frame >= this.#times.count - 1) return this.#finish();
      const behind = this.#leading() - this.frame;
      if (behind > STARVED.frames && performance.now() - fed > STARVED.milliseconds) return this.#struggle();
      const near = others.every((video, at) => hurried(video, leader, this.#offsets[at + 1] - this.#offsets[0], this.#rate));
      if (!near) return this.#seekOrTell(this.#leading());
    }
  }

  #keep(video, which) {
    const picture = pictureOf(video);
    if (!picture) return;
    const kept = this.#kept[which];
    const number = this.#numberOf(picture, which);
    if (number <= this.frame || kept.has(number)) {
      picture.close();
      return;
    }
    kept.set(number, picture);
    if (kept.size > KEPT) this.#drop(kept, Math.min(...kept.keys()));
  }

  #drop(kept, number) {
    kept.get(number).close();
    kept.delete(number);
  }

  /** Draw the latest frame that every video has delivered; false if there is none. */
  async #presentPair() {
    const [first, ...others] = this.#kept;
    const common = [...first.keys()].filter(number => others.every(kept => kept.has(number)));
    if (!common.length) return false;
    const frame = Math.max(...common);
    const pictures = this.#kept.map(kept => {
      const picture = kept.get(frame);
      kept.delete(frame);
      for (const number of [...kept.keys()]) if (number < frame) this.#drop(kept, number);
      return picture;
    });
    await this.#present(frame, pictures);
    return true;
  }

  #leading() {
    return this.#times.shownAt(this.#videos[0].currentTime - this.#offsets[0]);
  }

  #finish() {
    if (!this.loop) this.#stop();
    this.#seekOrTell(this.loop ? 0 : this.#times.count - 1);
  }

  #struggle() {
    this.stepping = true;
    this.#listeners.onChange();
    this.#seekOrTell(this.#leading());
  }

  /** Play by seeking: as many frames as can be sought in time, each with its ids. */
  async #stepAlong(run) {
    let seconds = this.#times.startOf(this.frame);
    let before = performance.now();
    while (run === this.#run) {
      if (this.frame >= this.#times.count - 1) return this.#finish();
      await painted();
      const now = performance.now();
      seconds += (now - before) / 1000 * this.#rate;
      before = now;
      const due = this.#times.shownAt(seconds);
      if (due > this.frame && run === this.#run) await this.#drawAt(due);
    }
  }
}

/** Get the time of the picture that the element shows, or the element's own time. */
function timeShown(video) {
  const picture = pictureOf(video);
  const time = picture ? picture.timestamp / 1e6 : video.currentTime;
  picture?.close();
  return time;
}

const isWaiting = video => !video.ended && video.readyState < video.HAVE_FUTURE_DATA;

/** Move a video towards the leader by its speed; false if it is too far away. */
function hurried(video, leader, offset, rate) {
  const ahead = video.currentTime - leader.currentTime - offset;
  const wanted = Math.abs(ahead) < 0.004 ? rate : rate * (1 - Math.max(-0.4, Math.min(0.4, 3 * ahead)));
  if (Math.abs(video.playbackRate - wanted) > 0.005) video.playbackRate = wanted;
  return Math.abs(ahead) < LOST_SECONDS * Math.max(1, rate);
}
