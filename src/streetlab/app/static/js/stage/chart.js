/** A chart of probabilities over time: one band per class, and the playhead. */

const SPACE = "http://www.w3.org/2000/svg";
const MOST_POINTS = 1500;

const shape = (tag, attributes) => {
  const made = document.createElementNS(SPACE, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

export class TimeChart {
  #last;

  /**
   * @param {number[][]} probabilities of each frame, one per class
   * @param {string[]} colors of the classes
   * @param {string} label the accessible name of the chart
   * @param {(frame: number) => void} onFrame a place was pressed
   */
  constructor(probabilities, colors, label, onFrame) {
    this.#last = Math.max(1, probabilities.length - 1);
    this.box = shape("svg", {class: "time-chart", viewBox: "0 0 1 1", preserveAspectRatio: "none", role: "img", "aria-label": label});
    const every = Math.ceil(probabilities.length / MOST_POINTS);
    const frames = probabilities.map((_, frame) => frame).filter(frame => frame % every === 0 || frame === probabilities.length - 1);
    // a video of one frame is a band, too
    /** @type {[number, number[]][]} */
    const points = frames.length > 1 ? frames.map(frame => [frame / this.#last, probabilities[frame]]) : [[0, probabilities[0]], [1, probabilities[0]]];
    let floor = points.map(() => 0);
    colors.forEach((color, id) => {
      const top = points.map(([, shares], at) => floor[at] + shares[id]);
      const edge = (heights, order) => order.map(at => `${points[at][0].toFixed(5)},${(1 - heights[at]).toFixed(4)}`);
      const there = points.map((_, at) => at);
      this.box.append(shape("polygon", {points: [...edge(top, there), ...edge(floor, there.toReversed())].join(" "), fill: color}));
      floor = top;
    });
    this.head = shape("line", {class: "playhead", x1: 0, x2: 0, y1: 0, y2: 1, "vector-effect": "non-scaling-stroke"});
    this.box.append(this.head);
    const place = event => {
      const {left, width} = this.box.getBoundingClientRect();
      onFrame(Math.round((event.clientX - left) / width * this.#last));
    };
    this.box.addEventListener("pointerdown", event => {
      this.box.setPointerCapture(event.pointerId);
      place(event);
    });
    this.box.addEventListener("pointermove", event => this.box.hasPointerCapture(event.pointerId) && place(event));
  }

  /** Move the playhead. */
  show(frame) {
    for (const end of ["x1", "x2"]) this.head.setAttribute(end, String(frame / this.#last));
  }
}
