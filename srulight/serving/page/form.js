// The fields in which users write what they ask.

import {make} from "./charts.js";

export function field(id, label, element, hint) {
  const parts = [make("label", {htmlFor: id}, label), Object.assign(element, {id})];
  if (hint) {
    parts.push(make("small", {className: "hint", id: `${id}-hint`}, hint));
    element.setAttribute("aria-describedby", `${id}-hint`);
  }
  return make("div", {className: "field"}, ...parts);
}

function spaced(name) {
  const words = name.replaceAll("_", " ");
  return words[0].toUpperCase() + words.slice(1);
}

// The numbers of a request. A field that is left empty takes its default on the server.
export function options(schemas) {
  const fields = Object.entries(schemas).filter(([, one]) => one.type !== "boolean");
  return fields.map(([name, {type, minimum, maximum, default: usual, description}]) => {
    const number = make("input", {type: "number", step: type === "integer" ? "1" : "any"});
    if (minimum !== undefined) number.min = minimum;
    if (maximum !== undefined) number.max = maximum;
    if (usual !== undefined) number.placeholder = usual;
    return field(`option-${name}`, spaced(name), number, description);
  });
}

// Reads the options: numbers as they are, and everything that can be shown.
export function chosen(schemas) {
  const found = {};
  for (const [name, {type}] of Object.entries(schemas)) {
    const text = document.getElementById(`option-${name}`)?.value;
    if (type === "boolean") found[name] = true;
    else if (text) found[name] = Number(text);
  }
  return found;
}

function area(value, rows, isCode = false) {
  const element = make("textarea", {value, rows, spellcheck: !isCode});
  if (isCode) element.className = "code";
  return element;
}

// Reads columns of a table in CSV: a line with names, then one step per line.
function table(text) {
  const [names, ...rows] = text.trim().split("\n").map(line => line.split(/[,;\t]/).map(cell => cell.trim()));
  const value = cell => (cell === undefined || cell === "" ? null : Number.isNaN(Number(cell)) ? cell : Number(cell));
  return Object.fromEntries(names.map((name, i) => [name, rows.map(row => value(row[i]))]));
}

function parsed(text) {
  if (!/^\s*[[{]/.test(text) && text.trim().includes("\n")) return table(text);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`expected JSON, or a table with the names of the columns in its first line: ${error.message}`);
  }
}

// The inputs of each kind: their fields, and a function that returns what to ask.
export function inputs(about) {
  if (Object.keys(about.files).length) {
    const accept = [...new Set([...Object.values(about.files), ...Object.keys(about.files)])].join();
    const file = make("input", {type: "file", accept});
    const read = () => {
      if (!file.files.length) throw new Error(`choose a ${about.kind} first`);
      return file.files[0];
    };
    const endings = [...new Set(Object.values(about.files))].join(", ");
    return {fields: [field("file", `A ${about.kind}`, file, `A file: ${endings}`)], read};
  }
  if (about.kind === "question") {
    const {question, passage} = about.example;
    const [asked, text] = [make("input", {value: question}), area(passage, 6)];
    const fields = [field("question", "Question", asked), field("passage", "Passage that contains the answer", text)];
    return {fields, read: () => [{question: asked.value, passage: text.value}]};
  }
  if (about.kind === "text") {
    const generates = Object.keys(about.generator).length > 0;
    const text = area(about.example, 4);
    const hint = generates ? "" : "Each line is a text of its own. Ctrl+Enter sends them.";
    const label = generates ? "Beginning of a text" : "Texts";
    const read = () => {
      const lines = text.value.split("\n").filter(line => line.trim());
      if (!lines.length) throw new Error("write a text first");
      return lines;
    };
    return {fields: [field("text", label, text, hint)], read, prompt: () => text.value};
  }
  const columns = Object.entries(about.example).map(
    ([name, values]) => `  ${JSON.stringify(name)}: ${JSON.stringify(values)}`);
  const json = area(columns.length ? `{\n${columns.join(",\n")}\n}` : "", 8, true);
  const hint = "JSON with the columns by their names or with a row per step; or a table with commas.";
  return {fields: [field("json", `A ${about.kind}`, json, hint)], read: () => [parsed(json.value)]};
}
