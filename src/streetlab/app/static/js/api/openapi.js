/** Format the parts of an OpenAPI document: types, fields, and a curl command. */

/** Describe the type of a schema: "integer or null", "list of string", "resized | direct". */
export function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.join(" | ");
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return either.map(typeOf).join(" or ");
  if (schema.type === "array") {
    const entries = schema.prefixItems ? schema.prefixItems.map(typeOf).join(", ") : typeOf(schema.items ?? {});
    return `list of ${entries}`;
  }
  if (schema.type === "object" && schema.additionalProperties?.type) return `object of ${typeOf(schema.additionalProperties)}`;
  return schema.format === "binary" ? "bytes" : schema.type ?? "anything";
}

/** List name, type and description of each field of a schema. */
export function fieldsOf({properties = {}, required = []}) {
  return Object.entries(properties).map(([name, schema]) => [
    name, typeOf(schema) + (required.includes(name) ? "" : ", optional"), schema.description ?? "",
  ]);
}

/** Make a small example value of a schema. */
function exampleOf(schema, schemas) {
  if (schema.$ref) return exampleOf(schemas[typeOf(schema)] ?? {}, schemas);
  if (schema.examples?.length) return schema.examples[0];
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  const either = schema.anyOf ?? schema.oneOf;
  if (either) return exampleOf(either[0], schemas);
  if (schema.type === "array") return schema.minItems ? [exampleOf(schema.items ?? {}, schemas)] : [];
  if (schema.type === "integer" || schema.type === "number") return schema.minimum ?? 0;
  if (schema.type === "boolean") return false;
  if (schema.type === "string") return "...";
  const {properties = {}, required = []} = schema;
  return Object.fromEntries(required.map(name => [name, exampleOf(properties[name], schemas)]));
}

const quoted = text => `'${text.replaceAll("'", "'\\''")}'`;

/** Write a curl command with the required parameters; placeholders are in capitals. */
export function curlOf(origin, path, method, operation, schemas) {
  const queried = (operation.parameters ?? []).filter(({in: where, required}) => where === "query" && required);
  const query = queried.map(({name}) => `${name}=${name.toUpperCase()}`).join("&");
  const place = path.replaceAll(/\{(\w+?)_?\}/g, (_, name) => name.toUpperCase());
  const words = ["curl"];
  if (method !== "get") words.push("-X", method.toUpperCase());
  const content = operation.requestBody?.content ?? {};
  if (content["application/json"]) {
    words.push("-H", quoted("Content-Type: application/json"), "-d", quoted(JSON.stringify(exampleOf(content["application/json"].schema ?? {}, schemas))));
  } else if (content["application/octet-stream"]) words.push("-H", quoted("Content-Type: application/octet-stream"), "--data-binary", "@street.jpg");
  const types = Object.keys(operation.responses?.["200"]?.content ?? {});
  if (types.length && !types.includes("application/json")) words.push("-OJ");
  words.push(quoted(`${origin}${place}${query && `?${query}`}`));
  return words.join(" ");
}
