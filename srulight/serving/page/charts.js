// Pictures of numbers, as elements of the page: bars, heat maps and lines.

const SVG = "http://www.w3.org/2000/svg";
const COLORS = ["#2f81f7", "#d9730d", "#1a9e6b", "#b558d6", "#d1445b", "#7d8590", "#a5821a", "#1b9aaa"];

// Creates an element. Texts are never read as HTML.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function titled(shape, text) {
  shape.append(draw("title", {}, text));
  return shape;
}

function shortened(text, most) {
  const characters = [...text];
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : text;
}

export function percent(value) {
  return `${(100 * value).toFixed(1)} %`;
}

// Rows of [name, number from 0 to 1], as bars with their values.
export function bars(rows) {
  return make("ul", {className: "bars"}, ...rows.map(([name, value]) => {
    const fill = make("span", {className: "fill"});
    fill.style.width = `${100 * Math.max(0, Math.min(1, value))}%`;
    return make("li", {}, make("span", {}, name), make("span", {className: "track"}, fill),
      make("span", {className: "value"}, percent(value)));
  }));
}

// A picture that may be wider than the window, so that the keyboard can scroll it.
function scrollable(picture, label) {
  return make("div", {className: "scroll", tabIndex: 0, role: "group", "aria-label": label}, picture);
}

// Weights of the columns in each row, from 0 to 1: the stronger the color, the larger.
export function heatmap(rows, columns, weights, label) {
  const size = 26;
  const measure = document.createElement("canvas").getContext("2d");
  measure.font = "12px system-ui, sans-serif";
  const width = texts => Math.max(...texts.map(text => measure.measureText(text).width), 0);
  const left = width(rows.map(one => shortened(one, 18))) + 10;
  const names = columns.map(one => shortened(one, 18));
  const top = width(names) * Math.sin(Math.PI / 3) + 16;
  const right = width(names) * 0.5 + 8; // for the last name, which leans to the right
  const picture = draw("svg", {
    width: left + size * columns.length + right, height: top + size * rows.length + 2, role: "img",
    "aria-label": `${label}: ${rows.map((one, i) => `${one}: ${columns[largest(weights[i])]}`).join("; ")}`,
  });
  names.forEach((name, i) => {
    const [x, y] = [left + size * (i + 0.6), top - 6];
    picture.append(draw("text", {transform: `translate(${x} ${y}) rotate(-60)`}, name));
  });
  rows.forEach((row, i) => {
    const y = top + size * i;
    const name = draw("text", {x: left - 8, y: y + size / 2 + 4, "text-anchor": "end"}, shortened(row, 18));
    picture.append(name);
    weights[i].forEach((weight, j) => {
      const place = {x: left + size * j, y, width: size, height: size};
      const cell = draw("rect", {...place, class: "cell", "fill-opacity": weight ?? 0});
      picture.append(titled(cell, `${row} ← ${columns[j]}: ${percent(weight ?? 0)}`));
    });
  });
  const [wide, high] = [columns.length, rows.length];
  const lines = [];
  for (let i = 0; i <= wide; i += 1) lines.push(`M${left + size * i} ${top}v${size * high}`);
  for (let i = 0; i <= high; i += 1) lines.push(`M${left} ${top + size * i}h${size * wide}`);
  picture.append(draw("path", {class: "grid", d: lines.join(""), "pointer-events": "none"}));
  return scrollable(picture, label);
}

function largest(weights) {
  return weights.reduce((best, one, i) => (one > weights[best] ? i : best), 0);
}

// Lines of {name: numbers}, one number per step; null where there is none.
export function lines(series, label) {
  const [width, height, left, bottom] = [640, 200, 56, 24];
  const all = Object.values(series).flat().filter(Number.isFinite);
  const steps = Math.max(...Object.values(series).map(one => one.length));
  let [low, high] = [Math.min(...all), Math.max(...all)];
  if (low >= 0 && high <= 1) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - 1, high + 1];
  const x = i => left + (steps > 1 ? (i / (steps - 1)) * (width - left - 10) : 0);
  const y = value => 10 + ((high - value) / (high - low)) * (height - bottom - 10);
  const picture = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": `${label}, for ${steps} steps: ${Object.keys(series).join(", ")}`,
  });
  for (const value of [low, (low + high) / 2, high]) {
    picture.append(
      draw("line", {x1: left, x2: width - 10, y1: y(value), y2: y(value), class: "grid"}),
      draw("text", {x: left - 6, y: y(value) + 4, "text-anchor": "end"}, `${+value.toPrecision(3)}`),
    );
  }
  const ends = steps > 1 ? [[0, "start"], [steps - 1, "end"]] : [[0, "start"]];
  for (const [i, anchor] of ends) {
    picture.append(draw("text", {x: x(i), y: height - 6, "text-anchor": anchor}, `step ${i + 1}`));
  }
  const legend = make("ul", {className: "legend"});
  Object.entries(series).forEach(([name, values], k) => {
    const style = {stroke: COLORS[k % COLORS.length], "stroke-dasharray": k < COLORS.length ? "" : "5 3"};
    let path = "";
    values.forEach((value, i) => {
      const isFirst = !i || !Number.isFinite(values[i - 1]);
      if (Number.isFinite(value)) path += `${isFirst ? "M" : "L"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    });
    if (steps === 1) path += "h6";
    picture.append(draw("path", {class: "series", d: path, ...style}));
    const sample = draw("svg", {width: 22, height: 10, "aria-hidden": "true"},
      draw("path", {class: "series", d: "M0 5h22", ...style}));
    legend.append(make("li", {}, sample, name));
  });
  return make("div", {}, scrollable(picture, label), legend);
}
