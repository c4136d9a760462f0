/** Times of the frames of a video: convert seconds to frame numbers and back. */

export class FrameTimes {
  #times;
  #last;

  /**
   * @param times seconds at which each frame begins, rising: `result.times` of a job
   * @param fps the rate as a fraction, "30000/1001": how long the last frame lasts
   */
  constructor(times, fps) {
    const [over, under = "1"] = String(fps).split("/");
    const rate = Number(over) / Number(under);
    this.#times = times;
    this.#last = Number.isFinite(rate) && rate > 0 ? 1 / rate : 0.04;
  }

  get count() {
    return this.#times.length;
  }

  /** Seconds from the first frame to the end of the last. */
  get seconds() {
    return this.#endOf(this.count - 1) - this.#times[0];
  }

  startOf(frame) {
    return this.#times[frame];
  }

  /** Get the middle of a frame: a seek to it hits the frame, however the player rounds. */
  middleOf(frame) {
    return (this.#times[frame] + this.#endOf(frame)) / 2;
  }

  /** Find the frame that begins closest to `seconds`; containers round times (WebM to a millisecond). */
  nearest(seconds) {
    const after = this.#firstAfter(seconds);
    if (after === 0) return 0;
    if (after === this.count) return after - 1;
    return this.#times[after] - seconds < seconds - this.#times[after - 1] ? after : after - 1;
  }

  /** Find the frame shown at `seconds`; the first or the last one beyond the ends. */
  shownAt(seconds) {
    return Math.max(0, this.#firstAfter(seconds) - 1);
  }

  clamp(frame) {
    return Math.min(this.count - 1, Math.max(0, Math.round(frame)));
  }

  #endOf(frame) {
    return frame + 1 < this.count ? this.#times[frame + 1] : this.#times[frame] + this.#last;
  }

  #firstAfter(seconds) {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#times[middle] > seconds) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
