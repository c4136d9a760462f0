/** A picture and its overlays, zoomed, panned and divided together. */

import {element} from "../controls/dom.js";
import {View} from "./view.js";

const STEP = 0.02;

/**
 * Two stacks of elements of one size: `photo` (an img, a video, a canvas) and `over` (canvases), both in the picture's
 * own pixels. The divider cuts only `over`, so that the bare photo shows to its left.
 */
export class Layers {
  #fingers = new Map();
  #stop = new AbortController();
  #width = 0;
  #height = 0;

  /**
   * @param {Element} container receives the frame
   * @param {{view?: View, onPoint?: (point: {x: number, y: number} | null) => void, divided?: boolean}} options the
   *   shared view; receives the pixel under the pointer (null: none); true if this frame has the divider
   */
  constructor(container, {view = new View(), onPoint = () => {}, divided = true} = {}) {
    this.view = view;
    this.onPoint = onPoint;
    this.photo = element("div", {class: "world"});
    this.over = element("div", {class: "world"});
    this.clip = element("div", {class: "clip"}, this.over);
    this.frame = element("div", {class: "frame"}, this.photo, this.clip);
    if (divided) this.frame.append(this.#dividerOf());
    container.append(this.frame);
    this.#listen();
    this.view.addEventListener("change", () => this.#place(), {signal: this.#stop.signal});
    this.resized = new ResizeObserver(() => this.#place());
    this.resized.observe(this.frame);
  }

  /** Set the size of the picture in its own pixels; the elements of both stacks get this size. */
  resize(width, height) {
    this.#width = width;
    this.#height = height;
    this.frame.style.setProperty("--ratio", String(width / height));
    for (const world of [this.photo, this.over]) {
      world.style.width = `${width}px`;
      world.style.height = `${height}px`;
    }
    this.#place();
  }

  /** Get the pixel of the picture under a pointer event; null beside the picture. */
  pixelAt(event) {
    const box = this.photo.getBoundingClientRect();
    if (!box.width || !box.height) return null;
    const x = Math.floor((event.clientX - box.left) / box.width * this.#width);
    const y = Math.floor((event.clientY - box.top) / box.height * this.#height);
    return x >= 0 && y >= 0 && x < this.#width && y < this.#height ? {x, y} : null;
  }

  destroy() {
    this.#stop.abort();
    this.resized.disconnect();
    this.frame.remove();
  }

  #place() {
    const {clientWidth, clientHeight} = this.frame;
    if (!this.#width || !clientWidth || !clientHeight) return;
    const scale = Math.min(clientWidth / this.#width, clientHeight / this.#height) * this.view.zoom;
    const left = clientWidth / 2 - this.view.x * this.#width * scale;
    const top = clientHeight / 2 - this.view.y * this.#height * scale;
    for (const world of [this.photo, this.over]) world.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
    this.frame.classList.toggle("zoomed", this.view.zoom > 1);
    this.frame.classList.toggle("pixels", scale * devicePixelRatio >= 3);
    const share = this.view.divider;
    this.clip.style.clipPath = share === null ? "" : `inset(0 0 0 ${100 * share}%)`;
    if (!this.divider) return;
    this.divider.hidden = share === null;
    if (share === null) return;
    this.divider.style.left = `${100 * share}%`;
    this.divider.setAttribute("aria-valuenow", String(Math.round(100 * share)));
  }

  #dividerOf() {
    this.divider = element("div", {
      id: "divider", class: "divider", tabIndex: 0, hidden: true, role: "slider", "aria-label": "bare photo up to here",
      "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": "50", "aria-orientation": "horizontal",
    });
    this.divider.addEventListener("keydown", event => {
      const to = {
        ArrowLeft: this.view.divider - STEP, ArrowRight: this.view.divider + STEP,
        ArrowDown: this.view.divider - STEP, ArrowUp: this.view.divider + STEP, Home: 0, End: 1,
      }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.view.divide(to);
    });
    this.divider.addEventListener("pointerdown", event => {
      event.stopPropagation();
      this.divider.setPointerCapture(event.pointerId);
    });
    this.divider.addEventListener("pointermove", event => {
      if (!this.divider.hasPointerCapture(event.pointerId)) return;
      const box = this.frame.getBoundingClientRect();
      this.view.divide((event.clientX - box.left) / box.width);
    });
    return this.divider;
  }

  #listen() {
    const on = (type, listener, more = {}) => this.frame.addEventListener(type, listener, {signal: this.#stop.signal, ...more});
    on("wheel", event => {
      event.preventDefault();
      this.#zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), event);
    }, {passive: false});
    on("dblclick", () => this.view.reset());
    on("pointerdown", event => {
      this.onPoint(this.pixelAt(event));
      if (event.target.closest("button, input, select, a")) return;
      this.#fingers.set(event.pointerId, event);
      this.frame.setPointerCapture(event.pointerId);
    });
    on("pointermove", event => {
      this.onPoint(this.pixelAt(event));
      this.#drag(event);
    });
    for (const type of ["pointerup", "pointercancel"]) on(type, event => this.#fingers.delete(event.pointerId));
    on("pointerleave", event => {
      // a tap leaves at once; the class shown stays readable
      if (event.pointerType === "mouse") this.onPoint(null);
    });
  }

  /** Zoom about the point of a wheel event or a pair of fingers. */
  #zoom(factor, {clientX, clientY}) {
    const box = this.photo.getBoundingClientRect();
    this.view.zoomBy(factor, (clientX - box.left) / box.width, (clientY - box.top) / box.height);
  }

  #drag(event) {
    const before = this.#fingers.get(event.pointerId);
    if (!before) return;
    const box = this.photo.getBoundingClientRect();
    const fingers = this.#fingers.size;
    this.view.moveBy((event.clientX - before.clientX) / box.width / fingers, (event.clientY - before.clientY) / box.height / fingers);
    if (fingers === 2) {
      const [other] = [...this.#fingers.values()].filter(finger => finger.pointerId !== event.pointerId);
      const apart = finger => Math.hypot(finger.clientX - other.clientX, finger.clientY - other.clientY);
      const middle = {clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2};
      if (apart(before) > 8) this.#zoom(apart(event) / apart(before), middle);
    }
    this.#fingers.set(event.pointerId, event);
  }
}
