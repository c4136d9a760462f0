/** The paint style of predictions: opacity, visible classes, colours, outlines, threshold. */

/**
 * How a prediction is painted: opacity and threshold 0-1, ids of hidden classes, one [r, g, b] of each class.
 * @typedef {{alpha: number, hidden: Set<number>, colors: number[][], outlines: boolean, threshold: number}} PaintStyle
 */

const PLACE = "streetlab.colors.";

/** "#rrggbb" to [r, g, b]. */
export const rgbOf = hex => [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));

/** [r, g, b] to "#rrggbb". */
export const hexOf = rgb => `#${rgb.map(value => value.toString(16).padStart(2, "0")).join("")}`;

const placeOf = model => PLACE + JSON.stringify(model.classes.map(({name}) => name));

/** Load the colours that a person chose for the classes of a label space, by name; {} without any. */
function chosenColors(model) {
  try {
    const kept = JSON.parse(localStorage.getItem(placeOf(model)) ?? "{}");
    return Object.fromEntries(Object.entries(kept).filter(([, hex]) => /^#[0-9a-f]{6}$/.test(hex)));
  } catch {
    return {};
  }
}

function keep(model, colors) {
  try {
    if (Object.keys(colors).length) localStorage.setItem(placeOf(model), JSON.stringify(colors));
    else localStorage.removeItem(placeOf(model));
  } catch {
    // without storage the colours last until the page is closed
  }
}

/**
 * The settings of the page; "change" is dispatched after each change.
 *
 * Classes are hidden by name, so that a choice holds for every model that knows the name.
 */
export class PaintStyles extends EventTarget {
  #hidden = new Set();
  #colors = new Map();
  #settings = {alpha: 0.5, outlines: false, threshold: 0};

  get settings() {
    return this.#settings;
  }

  /** Change some of alpha (0-1), outlines and threshold (0-1). */
  set(changes) {
    this.#settings = {...this.#settings, ...changes};
    this.#changed();
  }

  isHidden(name) {
    return this.#hidden.has(name);
  }

  /** Show or hide one class. */
  show(name, shown) {
    this.#hidden = new Set(this.#hidden);
    if (shown) this.#hidden.delete(name);
    else this.#hidden.add(name);
    this.#changed();
  }

  /** Show only those classes of these models for which `wanted(name)` is true. */
  showOnly(models, wanted) {
    this.#hidden = new Set(models.flatMap(model => model.classes.map(({name}) => name)).filter(name => !wanted(name)));
    this.#changed();
  }

  #chosen(model) {
    const place = placeOf(model);
    if (!this.#colors.has(place)) this.#colors.set(place, chosenColors(model));
    return this.#colors.get(place);
  }

  /** True if a person changed a colour of this model's label space. */
  hasOwnColors(model) {
    return Object.keys(this.#chosen(model)).length > 0;
  }

  colorOf(model, id) {
    const {name, color} = model.classes[id];
    return this.#chosen(model)[name] ?? color;
  }

  /** Give a class a colour, kept in this browser for the label space; null for id and hex: the original ones. */
  recolor(model, id, hex) {
    const colors = id === null ? {} : {...this.#chosen(model), [model.classes[id].name]: hex};
    this.#colors.set(placeOf(model), colors);
    keep(model, colors);
    this.#changed();
  }

  /**
   * Get the paint style of a model. A class that `leader` has under the same name takes the leader's colour, so that two
   * models side by side show the same class in the same colour.
   */
  of(model, leader = model) {
    const names = leader.classes.map(({name}) => name);
    const colors = model.classes.map(({name}, id) => {
      const there = names.indexOf(name);
      return rgbOf(there >= 0 ? this.colorOf(leader, there) : this.colorOf(model, id));
    });
    const hidden = new Set(model.classes.flatMap(({name}, id) => this.#hidden.has(name) ? [id] : []));
    return {...this.#settings, hidden, colors};
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

/** Convert a paint style to the JSON that the server reads. */
export function plainPaintStyle(paintStyle) {
  const {alpha, outlines, threshold} = paintStyle;
  return {alpha, hidden: [...paintStyle.hidden], colors: paintStyle.colors.map(hexOf), outlines, threshold};
}
