/** The survey's tables, which the page holds as columns, as streets with their photos. */

/**
 * @typedef {object} Street
 * @property {number} index place in the table
 * @property {string} id
 * @property {string} name what people call it; its id where it has no name
 * @property {number} district place in the list of districts, -1 for none
 * @property {number|null} length metres
 * @property {number} photos
 * @property {number|null} severity 0 to 100; null where it was not seen
 * @property {number|null} low lower end of the 95% interval
 * @property {number|null} high
 * @property {boolean} unsure its interval is wide, or there is none
 * @property {number|null} change against the baseline
 * @property {number|null} changeLow
 * @property {number|null} changeHigh
 * @property {{area: boolean, parts: number[][][]}} shape lines or rings of [lon, lat]
 */

/**
 * @typedef {object} Photo
 * @property {string} file
 * @property {string} time ISO 8601, or empty
 * @property {string} label the predicted class
 * @property {number|null} confidence percent
 * @property {number|null} severity
 * @property {string} grade
 * @property {string} human grade that a person gave, or empty
 * @property {boolean} unlike
 * @property {string} picture relative path, or empty
 * @property {string} evidence relative path, or empty
 */

/** @typedef {{district: number, grade: number, from: string, to: string}} Filter -1 and "" leave all */

const DEGREE = 1e6;

export class Survey {
  /** @param {string} json what page.py writes */
  constructor(json) {
    const {segments, photos, ...shared} = JSON.parse(json);
    this.districts = shared.districts;
    this.grades = shared.grades;
    this.steps = shared.steps;
    this.colors = shared.colors;
    this.unseen = shared.unseen;
    this.changes = shared.changes;
    this.kind = shared.kind;
    this.borders = shared.borders.map(shapeOf);
    this.photos = photos;
    /** @type {number[]} the first photo of each street; photos are in the order of streets */
    this.first = [0];
    for (const count of segments.photos) this.first.push(this.first.at(-1) + count);
    /** @type {Street[]} */
    this.streets = segments.id.map((id, index) => ({
      index, id, name: segments.name[index] || id, district: segments.district[index], length: segments.length[index],
      photos: segments.photos[index], severity: segments.severity[index], low: segments.low[index],
      high: segments.high[index], unsure: Boolean(segments.unsure[index]), change: segments.change?.[index] ?? null,
      changeLow: segments.change_low?.[index] ?? null, changeHigh: segments.change_high?.[index] ?? null,
      shape: shapeOf(segments.shape[index]),
    }));
    this.hasTrend = Boolean(segments.change);
  }

  /**
   * The streets that have a photo which the filter leaves; without a filter of photos those without a photo too.
   * @param {Filter} filter
   * @returns {{streets: Street[], photos: number}}
   */
  select(filter) {
    let photos = 0;
    const streets = this.streets.filter(street => {
      if (filter.district >= 0 && street.district !== filter.district) return false;
      const left = this.photoNumbers(street, filter).length;
      photos += left;
      return left > 0 || !filtersPhotos(filter) && street.photos === 0;
    });
    return {streets, photos};
  }

  /**
   * The numbers of a street's photos that the filter leaves.
   * @param {Street} street
   * @param {Filter} filter
   * @returns {number[]}
   */
  photoNumbers(street, filter) {
    const numbers = [];
    for (let number = this.first[street.index]; number < this.first[street.index + 1]; number++) {
      if (filter.grade >= 0 && this.photos.grade[number] !== filter.grade) continue;
      const day = this.photos.time[number].slice(0, 10);
      if (filter.from && !(day >= filter.from)) continue;
      if (filter.to && !(day && day <= filter.to)) continue;
      numbers.push(number);
    }
    return numbers;
  }

  /** @returns {Photo} */
  photo(number) {
    const {photos} = this;
    return {
      file: photos.file[number], time: photos.time[number], label: photos.classes[photos.label[number]] ?? "",
      confidence: photos.confidence[number], severity: photos.severity[number],
      grade: this.grades[photos.grade[number]] ?? "", unlike: Boolean(photos.unlike[number]),
      human: photos.human_grade?.[number] ?? "",
      picture: photos.picture?.[number] ?? "", evidence: photos.evidence?.[number] ?? "",
    };
  }

  /** The first and the last day on which photos were taken; empty texts where none has a time. */
  days() {
    const days = this.photos.time.map(time => time.slice(0, 10)).filter(Boolean);
    return days.reduce(([first, last], day) => [day < first ? day : first, day > last ? day : last], [days[0] ?? "", days[0] ?? ""]);
  }

  /** The colour of a street on a layer, `severity` or `change`. */
  color(street, layer) {
    if (layer === "change") return this.changes[this.verdict(street)] ?? this.unseen;
    if (street.severity === null) return this.unseen;
    const step = this.steps.slice(1).filter(edge => street.severity >= edge).length;
    return this.colors[Math.min(step, this.colors.length - 1)];
  }

  /** `worse` or `better` where the interval of the change leaves out 0, `unclear` where it holds it, else "". */
  verdict({changeLow, changeHigh}) {
    if (changeLow === null || changeHigh === null) return "";
    if (changeLow > 0) return "worse";
    return changeHigh < 0 ? "better" : "unclear";
  }

  /** [[west, south], [east, north]] of the streets. */
  bounds() {
    const box = [[Infinity, Infinity], [-Infinity, -Infinity]];
    for (const {shape} of this.streets) for (const part of shape.parts) for (const point of part) for (const axis of [0, 1]) {
      box[0][axis] = Math.min(box[0][axis], point[axis]);
      box[1][axis] = Math.max(box[1][axis], point[axis]);
    }
    return box;
  }
}

/** A filter that leaves out photos, and not only districts. */
export function filtersPhotos({grade, from, to}) {
  return grade >= 0 || Boolean(from) || Boolean(to);
}

/** Decode [area, ...parts], each part a row of steps from point to point in millionths of a degree. */
function shapeOf([area, ...parts]) {
  return {
    area: Boolean(area),
    parts: parts.map(steps => {
      const points = [];
      for (let i = 0, x = 0, y = 0; i < steps.length; i += 2) {
        x += steps[i];
        y += steps[i + 1];
        points.push([x / DEGREE, y / DEGREE]);
      }
      return points;
    }),
  };
}
