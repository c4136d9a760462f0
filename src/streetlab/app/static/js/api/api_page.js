/** The reference page of the API, built from /openapi.json; all texts are set as text, never as HTML. */

import {byId, element} from "../controls/dom.js";
import {curlOf, fieldsOf, typeOf} from "./openapi.js";

const anchorOf = (method, path) => `${method}${path.replaceAll(/[^a-z]+/gi, "-")}`;

function table(rows) {
  return element("table", {class: "fields"}, element("tbody", {}, ...rows.map(cells => element("tr", {}, ...cells.map(cell => element("td", {}, cell))))));
}

function contentsOf(content) {
  const kinds = Object.entries(content ?? {});
  return kinds.map(([kind, {schema}]) => schema && kind === "application/json" ? typeOf(schema) : kind).join(" or ");
}

function operation(origin, path, method, described, schemas) {
  /** @type {HTMLElement[]} */
  const parts = [element("h2", {id: anchorOf(method, path), tabIndex: -1}, element("span", {class: "method"}, method.toUpperCase()), ` ${path}`)];
  parts.push(element("p", {}, described.description ?? described.summary ?? ""));
  const add = (title, rows) => rows.length && parts.push(element("h3", {}, title), table(rows));
  add("parameters", (described.parameters ?? []).map(({name, in: where, required, schema = {}, description = ""}) => [
    name, [typeOf(schema), where === "path" ? "in the path" : required ? "required" : ""].filter(Boolean).join(", "),
    [description, "default" in schema && schema.default !== null && schema.default !== "" ? `default ${JSON.stringify(schema.default)}` : ""].filter(Boolean).join("; "),
  ]));
  if (described.requestBody) add("body", [[contentsOf(described.requestBody.content), described.requestBody.required ? "required" : "", described.requestBody.description ?? ""]]);
  add("answers", Object.entries(described.responses ?? {}).map(([status, {description = "", content}]) => [status, contentsOf(content), description]));
  parts.push(element("h3", {}, "example"), element("pre", {}, element("code", {}, curlOf(origin, path, method, described, schemas))));
  return element("section", {class: "operation", "aria-labelledby": anchorOf(method, path)}, ...parts);
}

function shape(name, schema) {
  const about = schema.description ? [element("p", {}, schema.description)] : [];
  return element("details", {class: "shape", id: `shape-${name}`}, element("summary", {}, name), ...about, table(fieldsOf(schema)));
}

async function show() {
  let openapi;
  try {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    openapi = await response.json();
  } catch (error) {
    byId("about").textContent = `openapi.json: ${error.message}`;
    return;
  }
  const schemas = openapi.components?.schemas ?? {};
  const all = Object.entries(openapi.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, one]) => [path, method, one]));
  byId("about").textContent = [openapi.info.description, `Version ${openapi.info.version}.`].filter(Boolean).join(" ");
  byId("contents").replaceChildren(...all.map(([path, method]) =>
    element("a", {href: `#${anchorOf(method, path)}`}, element("span", {class: "method"}, method.toUpperCase()), ` ${path}`)));
  byId("operations").replaceChildren(...all.map(([path, method, one]) => operation(location.origin, path, method, one, schemas)));
  byId("shapes").replaceChildren(...Object.entries(schemas).map(([name, schema]) => shape(name, schema)));
  byId("operations").removeAttribute("aria-busy");
}

show();
