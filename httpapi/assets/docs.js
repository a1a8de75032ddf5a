// Draws openapi.json. Everything from it is set as text, never as markup.
"use strict";

const methods = ["get", "post", "patch", "put", "delete"];

// el makes an element; strings among the children become text.
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// prose draws paragraphs, with `code` between backquotes.
function prose(text) {
  return (text || "").split("\n\n").filter(Boolean).map((paragraph) =>
    el("p", {}, ...paragraph.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part))));
}

class Page {
  constructor(api) {
    this.api = api;
  }

  resolve(schema) {
    const prefix = "#/components/schemas/";
    if (!schema || !schema.$ref || !schema.$ref.startsWith(prefix)) return [schema || {}, ""];
    const name = schema.$ref.slice(prefix.length);
    return [this.api.components.schemas[name] || {}, name];
  }

  // kind says in words what a schema wants.
  kind(schema) {
    const [resolved, name] = this.resolve(schema);
    if (resolved.oneOf) return resolved.oneOf.map((option) => this.kind(option)).join(" or ");
    const types = [].concat(resolved.type || (resolved.properties ? "object" : "any"));
    let text = types.map((type) => {
      if (type === "array") return "list of " + this.kind(resolved.items);
      if (type === "object" && name) return name;
      const values = resolved.additionalProperties;
      if (type === "object" && values && typeof values === "object") return "map of " + this.kind(values);
      return type;
    }).join(" or ");
    if (resolved.format && !resolved.format.startsWith("int") && resolved.format !== "double") text += " (" + resolved.format + ")";
    return text;
  }

  limits(schema) {
    const parts = [];
    if (schema.enum) parts.push("one of " + schema.enum.join(", "));
    if (schema.minimum !== undefined) parts.push("at least " + schema.minimum);
    if (schema.maximum !== undefined) parts.push("at most " + schema.maximum);
    if (schema.maxLength !== undefined) parts.push("at most " + schema.maxLength + " characters");
    if (schema.default !== undefined) parts.push("default " + JSON.stringify(schema.default));
    return parts.join("; ");
  }

  entry(name, schema, required, description) {
    const [resolved] = this.resolve(schema);
    const facts = [this.kind(schema), required ? "required" : "", this.limits(resolved)].filter(Boolean).join(", ");
    const said = description || schema.description || "";
    return [
      el("dt", {}, el("code", {}, name), " ", el("span", { class: "muted" }, facts)),
      el("dd", {}, said, this.inside(schema)),
    ];
  }

  // inside draws the members of an object that a schema holds, folded.
  inside(schema, depth = 0) {
    let [resolved, name] = this.resolve(schema);
    if (resolved.oneOf) [resolved, name] = this.resolve(resolved.oneOf.find((option) => option.type !== "null"));
    if (resolved.items) [resolved, name] = this.resolve(resolved.items);
    if (resolved.additionalProperties && typeof resolved.additionalProperties === "object") {
      [resolved, name] = this.resolve(resolved.additionalProperties);
    }
    if (!resolved.properties || depth > 4) return null;
    return el("details", { class: "nested" }, el("summary", {}, name || "fields"), this.members(resolved));
  }

  members(schema) {
    const required = new Set(schema.required || []);
    const list = el("dl", {});
    for (const [name, property] of Object.entries(schema.properties || {})) {
      list.append(...this.entry(name, property, required.has(name)));
    }
    return list;
  }

  body(schema) {
    const [resolved, name] = this.resolve(schema);
    if (resolved.properties) return el("div", {}, el("p", { class: "muted" }, name), this.members(resolved));
    return el("div", {}, el("p", { class: "muted" }, this.kind(schema)), schema.description ? el("p", {}, schema.description) : null, this.inside(schema));
  }

  example(value) {
    if (value === undefined) return null;
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    return el("div", {}, el("h4", {}, "Example"), el("pre", { tabindex: "0" }, el("code", {}, text)));
  }

  credentials(operation) {
    const schemes = (operation.security || []).flatMap((choice) => Object.keys(choice));
    if (schemes.length === 0) return el("p", {}, "No credential is needed.");
    const described = this.api.components.securitySchemes;
    return el("p", {}, "Authorization: Bearer, with ", schemes.map((scheme) => described[scheme].description.split(":")[0]).join(" or "), ".");
  }

  operation(path, method, operation) {
    const parts = [...prose(operation.description), this.credentials(operation)];
    if (operation.parameters && operation.parameters.length) {
      const list = el("dl", {});
      for (const p of operation.parameters) {
        list.append(...this.entry(p.name, p.schema, p.required, "In the " + p.in + ". " + (p.description || "")));
      }
      parts.push(el("h4", {}, "Parameters"), list);
    }
    for (const [type, media] of Object.entries((operation.requestBody || {}).content || {})) {
      parts.push(el("h4", {}, "Body, " + type), this.body(media.schema), this.example(media.example));
    }
    for (const [status, response] of Object.entries(operation.responses || {})) {
      parts.push(el("h4", {}, status), el("p", {}, response.description));
      for (const [type, media] of Object.entries(response.content || {})) {
        parts.push(el("details", { class: "nested" }, el("summary", {}, type), this.body(media.schema)));
      }
    }
    return el("details", { class: "operation", id: operation.operationId },
      el("summary", {}, el("span", { class: "method " + method }, method.toUpperCase()), " ",
        el("span", { class: "path" }, path), " ", el("span", { class: "muted" }, operation.summary || "")),
      el("div", {}, ...parts.filter(Boolean)));
  }

  draw() {
    const info = this.api.info;
    document.getElementById("title").textContent = info.title + " API " + info.version;
    document.getElementById("introduction").replaceChildren(...prose(info.description));
    const contents = document.getElementById("contents");
    const operations = document.getElementById("operations");
    operations.replaceChildren();
    for (const tag of this.api.tags) {
      const links = el("ul", {});
      operations.append(el("h2", {}, tag.name), ...prose(tag.description));
      for (const [path, item] of Object.entries(this.api.paths)) {
        for (const method of methods) {
          const operation = item[method];
          if (!operation || !(operation.tags || []).includes(tag.name)) continue;
          operations.append(this.operation(path, method, operation));
          links.append(el("li", {}, el("span", { class: "method " + method }, method.toUpperCase()), " ",
            el("a", { href: "#" + operation.operationId, class: "path" }, path)));
        }
      }
      contents.append(el("strong", {}, tag.name), links);
    }
    const unfold = () => {
      const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (target && target.tagName === "DETAILS") {
        target.open = true;
        target.scrollIntoView();
      }
    };
    addEventListener("hashchange", unfold);
    unfold();
  }
}

fetch("openapi.json")
  .then((response) => {
    if (!response.ok) throw new Error("the server answered " + response.status);
    return response.json();
  })
  .then((api) => new Page(api).draw())
  .catch((error) => {
    document.getElementById("operations").replaceChildren(
      el("p", { class: "error" }, "The description could not be loaded: " + error.message));
  });
