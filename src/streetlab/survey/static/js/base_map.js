/** The base map under the streets: a PMTiles file that is part of the page. */

const NAME = "base-map";

/** The opened file, or null where the page has none. */
export function openBaseMap(maplibregl) {
  const held = document.getElementById(NAME);
  if (!held) return null;
  const {pmtiles} = /** @type {any} */ (globalThis);
  const bytes = Uint8Array.from(atob(held.textContent), letter => letter.charCodeAt(0));
  const file = new pmtiles.PMTiles({
    getKey: () => NAME,
    getBytes: async (offset, length) => ({data: bytes.slice(offset, offset + length).buffer}),
  });
  const protocol = new pmtiles.Protocol({metadata: true});
  protocol.add(file);
  maplibregl.addProtocol("pmtiles", protocol.tile);
  return file;
}

/** Add the base map's source, and layers of it below the layer `above`; areas and lines alike in any tile schema. */
export async function addBaseMap(map, file, above, ink) {
  const vector = (await file.getHeader()).tileType === 1;
  map.addSource(NAME, {type: vector ? "vector" : "raster", url: `pmtiles://${NAME}`, ...(vector ? {} : {tileSize: 256})});
  if (!vector) {
    map.addLayer({id: NAME, type: "raster", source: NAME, paint: {"raster-opacity": 0.6}}, above);
    return;
  }
  const {vector_layers: layers} = await file.getMetadata();
  for (const {id} of layers) {
    const water = /water|ocean|sea|river/i.test(id);
    const shared = {source: NAME, "source-layer": id};
    map.addLayer({id: `${NAME}-${id}-areas`, type: "fill", ...shared, filter: ["==", ["geometry-type"], "Polygon"],
      paint: {"fill-color": water ? "#5b84b0" : ink, "fill-opacity": water ? 0.25 : 0.08}}, above);
    map.addLayer({id: `${NAME}-${id}-lines`, type: "line", ...shared, filter: ["==", ["geometry-type"], "LineString"],
      paint: {"line-color": water ? "#5b84b0" : ink, "line-opacity": 0.3, "line-width": 1}}, above);
  }
}
