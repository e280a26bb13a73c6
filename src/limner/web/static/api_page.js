/* The server's own description, as a page. */
import { ask } from "./api.js";

const described = await (await ask("openapi.json")).json();
const made = (name, text, ...within) => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...within);
  return element;
};
for (const [path, methods] of Object.entries(described.paths)) {
  for (const [method, told] of Object.entries(methods)) {
    const fields = [...(told.parameters ?? []).map((each) => [each.name, each.required, each.schema])];
    for (const content of Object.values(told.requestBody?.content ?? {})) {
      const schema = described.components.schemas[content.schema.$ref?.split("/").pop()] ?? content.schema;
      for (const [name, each] of Object.entries(schema.properties ?? {})) fields.push([name, schema.required?.includes(name), each]);
    }
    document.getElementById("paths").append(
      made("h2", method.toUpperCase() + " " + path),
      made("p", told.description ?? told.summary),
      made("dl", "", ...fields.flatMap(([name, needed, each]) => [
        made("dt", name + (needed ? "" : " (optional)")), made("dd", each.description ?? each.title ?? each.type ?? ""),
      ])),
    );
  }
}
