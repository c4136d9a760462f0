/** The map of streets with MapLibre GL JS, from the page's own data alone. */

import {addBaseMap, openBaseMap} from "./base_map.js";

/** @import {Street, Survey} from "./survey_data.js" */

const STREETS = ["dots", "areas", "unseen", "streets", "unsure"];
/** Pixels around a click in which a street is hit. */
const REACH = 6;
/** The zoom below which streets are too small to be seen, and dots stand for them. */
const DOTS = 11;
/** The zoom from which on one street is large enough to be looked at. */
const NEAR = 13;
const PRINTED = {ink: "#1d2329", paper: "#ffffff", rule: "#555d66"};

export class StreetMap {
  #layer = "severity";
  /** @type {Street[]} */
  #shown;

  /**
   * @param {HTMLElement} host
   * @param {Survey} survey
   * @param {(index: number) => void} choose what a click on a street does
   * @throws where the browser has no WebGL
   */
  constructor(host, survey, choose) {
    const {maplibregl} = /** @type {any} */ (globalThis);
    this.survey = survey;
    this.host = host;
    this.#shown = survey.streets;
    const baseMap = openBaseMap(maplibregl);
    const coarse = matchMedia("(pointer: coarse)").matches;
    this.map = new maplibregl.Map({
      container: host, style: this.#style(), bounds: survey.bounds(), fitBoundsOptions: {padding: 30, maxZoom: 17},
      attributionControl: false, renderWorldCopies: false, cooperativeGestures: coarse, dragRotate: false,
      pitchWithRotate: false, fadeDuration: 0, maxPitch: 0,
      locale: {"Map.Title": "Map of streets; the list below has the same streets"},
    });
    /** @type {any} */ (host).map = this.map; // for the console
    this.map.touchZoomRotate.disableRotation();
    this.map.addControl(new maplibregl.NavigationControl({showCompass: false}), "top-right");
    this.map.addControl(new maplibregl.ScaleControl(), "bottom-left");
    if (baseMap) this.map.once("load", () => addBaseMap(this.map, baseMap, "borders", papers().rule));
    this.map.on("click", event => {
      const hit = this.#at(event.point);
      if (hit !== null) choose(hit);
    });
    this.map.on("mousemove", event => {
      if (this.map.isMoving()) return;
      this.map.getCanvas().style.cursor = this.#at(event.point) === null ? "" : "pointer";
    });
    this.map.on("idle", () => { host.dataset.drawn = this.#layer; });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#repaint());
    addEventListener("beforeprint", () => this.#print());
  }

  /** Draw these streets in the colours of a layer, `severity` or `change`; at first all are drawn by severity. */
  show(streets, layer) {
    if (layer === this.#layer && streets.length === this.#shown.length &&
        streets.every((street, i) => street === this.#shown[i])) return;
    this.#shown = streets;
    this.#layer = layer;
    delete this.host.dataset.drawn;
    const draw = () => {
      this.map.getSource("streets").setData(this.#features());
      this.map.getSource("dots").setData(this.#features(middleOf));
    };
    if (this.map.getSource("streets")) draw();
    else this.map.once("load", draw);
  }

  /** Mark a street and bring it into view. */
  select(street) {
    this.map.setFilter("chosen", ["==", ["id"], street.index]);
    const lons = street.shape.parts.flat().map(([lon]) => lon);
    const lats = street.shape.parts.flat().map(([, lat]) => lat);
    const box = [[Math.min(...lons), Math.min(...lats)], [Math.max(...lons), Math.max(...lats)]];
    const view = this.map.getBounds();
    if (this.map.getZoom() < NEAR || !box.every(corner => view.contains(corner))) {
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      this.map.fitBounds(box, {padding: 60, maxZoom: Math.max(16, this.map.getZoom()), animate: !still});
    }
  }

  #at({x, y}) {
    const box = [[x - REACH, y - REACH], [x + REACH, y + REACH]];
    const layers = STREETS.filter(id => this.map.getLayer(id));
    return this.map.queryRenderedFeatures(box, {layers})[0]?.id ?? null;
  }

  /** @param {(shape: Street["shape"]) => object} geometry */
  #features(geometry = geometryOf) {
    return {type: "FeatureCollection", features: this.#shown.map(street => ({
      type: "Feature", id: street.index, geometry: geometry(street.shape),
      properties: {
        segment: street.id, color: this.survey.color(street, this.#layer), unsure: street.unsure,
        seen: street.photos > 0, order: street.severity ?? -1,
      },
    }))};
  }

  #style() {
    const width = factor => ["interpolate", ["exponential", 1.5], ["zoom"], 10, 1.5 * factor, 14, 3 * factor, 18, 10 * factor];
    const line = {"line-color": ["get", "color"], "line-width": width(1)};
    const {ink, paper, rule} = papers();
    const isArea = ["==", ["geometry-type"], "Polygon"];
    return {
      version: 8,
      sources: {
        // the buffer is as wide as the widest line: what lies in it is drawn in both tiles
        streets: {type: "geojson", buffer: 32, data: this.#features()},
        dots: {type: "geojson", maxzoom: DOTS, data: this.#features(middleOf)},
        borders: {type: "geojson", data: {type: "FeatureCollection", features: this.survey.borders.map(shape => ({
          type: "Feature", properties: {}, geometry: geometryOf(shape),
        }))}},
      },
      layers: [
        {id: "paper", type: "background", paint: {"background-color": paper}},
        {id: "borders", type: "line", source: "borders", paint: {"line-color": rule, "line-width": 1.5}},
        {id: "areas", type: "fill", source: "streets", filter: isArea,
          paint: {"fill-color": ["get", "color"], "fill-opacity": ["case", ["get", "unsure"], 0.45, 0.8]}},
        {id: "chosen", type: "line", source: "streets", filter: ["==", ["id"], -1],
          layout: {"line-cap": "round", "line-join": "round"}, paint: {"line-color": ink, "line-width": width(2.6)}},
        {id: "unseen", type: "line", source: "streets", filter: ["!", ["get", "seen"]],
          paint: {"line-color": ["get", "color"], "line-width": 1}},
        {id: "streets", type: "line", source: "streets", filter: ["all", ["get", "seen"], ["!", ["get", "unsure"]]],
          layout: {"line-sort-key": ["get", "order"]}, paint: line},
        {id: "unsure", type: "line", source: "streets", filter: ["all", ["get", "seen"], ["get", "unsure"]],
          layout: {"line-sort-key": ["get", "order"]}, paint: {...line, "line-dasharray": [1.2, 0.8]}},
        {id: "dots", type: "circle", source: "dots", maxzoom: DOTS, filter: ["get", "seen"],
          layout: {"circle-sort-key": ["get", "order"]}, paint: {"circle-color": ["get", "color"], "circle-radius": 4}},
      ],
    };
  }

  #repaint({ink, paper, rule} = papers()) {
    this.map.setPaintProperty("paper", "background-color", paper);
    this.map.setPaintProperty("borders", "line-color", rule);
    this.map.setPaintProperty("chosen", "line-color", ink);
  }

  /** Put the drawn map into a picture: paper shows no WebGL. */
  #print() {
    this.#repaint(PRINTED);
    this.map.redraw();
    const printed = /** @type {HTMLImageElement} */ (document.getElementById("printed"));
    printed.src = this.map.getCanvas().toDataURL();
    this.#repaint();
  }
}

/** The page's colours, which light and dark change. */
function papers() {
  const style = getComputedStyle(document.documentElement);
  const value = name => style.getPropertyValue(name).trim();
  return {ink: value("--ink"), paper: value("--paper"), rule: value("--muted")};
}

function middleOf({parts}) {
  return {type: "Point", coordinates: parts[0][Math.floor(parts[0].length / 2)]};
}

function geometryOf({area, parts}) {
  return area ? {type: "Polygon", coordinates: parts} : {type: "MultiLineString", coordinates: parts};
}
