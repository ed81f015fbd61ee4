// Shows the answers of each task.

import {bars, heatmap, lines, make, percent} from "./charts.js";

const SHOWN = 10; // Number of classes that are shown at once.
const MOST_CELLS = 10_000; // A picture of more would stop the browser for seconds.
const PREFIX = "probability:";

// Returns the probabilities of the classes or labels of an answer, the largest first.
function probabilities(answer) {
  return Object.entries(answer)
    .filter(([name, value]) => name.startsWith(PREFIX) && value !== null)
    .map(([name, value]) => [name.slice(PREFIX.length), value])
    .sort((a, b) => b[1] - a[1]);
}

function folded(summary, ...children) {
  return make("details", {}, make("summary", {}, summary), ...children);
}

function target(answer) {
  const rows = probabilities(answer);
  const parts = [];
  if (answer.prediction !== undefined) parts.push(make("p", {className: "said"}, String(answer.prediction)));
  if (rows.length) {
    parts.push(bars(rows.slice(0, SHOWN)));
    if (rows.length > SHOWN) parts.push(folded(`${rows.length - SHOWN} more`, bars(rows.slice(SHOWN))));
    return parts;
  }
  const others = Object.entries(answer).filter(([name]) => name !== "prediction");
  if (others.length) {
    parts.push(make("table", {}, make("tbody", {}, ...others.map(([name, value]) =>
      make("tr", {}, make("th", {scope: "row"}, name), make("td", {}, String(value)))))));
  }
  return parts;
}

// Answers for each step or each frame: their numbers as lines.
function steps(answers) {
  const names = Object.keys(answers[0] ?? {});
  const every = names.filter(name => name.startsWith(PREFIX));
  const numbers = every.length ? every : names.filter(
    name => answers.some(one => typeof one[name] === "number"));
  const parts = [];
  if (numbers.length) {
    const series = Object.fromEntries(
      numbers.map(name => [name.replace(PREFIX, ""), answers.map(one => one[name])]));
    parts.push(lines(series, every.length ? "Probability of each class" : "Predictions"));
  }
  const words = answers.map(one => one.prediction).filter(one => one !== undefined);
  if (words.length) {
    const runs = [];
    words.forEach((word, i) => {
      const last = runs.at(-1);
      if (last && last.word === word) last.end = i + 1;
      else runs.push({word, start: i + 1, end: i + 1});
    });
    parts.push(make("ul", {className: "spoken"}, ...runs.slice(0, 200).map(({word, start, end}) =>
      make("li", {}, String(word), make("small", {}, start === end ? `step ${start}` : `steps ${start}–${end}`)))));
  }
  return parts;
}

function translation(answer) {
  const parts = [make("p", {className: "said"}, answer.text)];
  if (answer.n_best) {
    parts.push(make("ol", {}, ...answer.n_best.map(one =>
      make("li", {}, one.text, make("small", {className: "quiet"}, ` log-probability ${one.log_probability}`)))));
  }
  const cells = (answer.attention ?? []).reduce((sum, row) => sum + row.length, 0);
  if (cells > MOST_CELLS) {
    parts.push(make("p", {className: "quiet"}, "The text is too long for a picture of the attention."));
  } else if (cells) {
    const sources = answer.source_tokens;
    const rows = answer.attention.map((_, i) => answer.tokens[i] ?? "end");
    const columns = answer.attention[0].map((_, i) => sources[i] ?? "end");
    parts.push(make("h2", {}, "Attention"), heatmap(rows, columns, answer.attention,
      "The source token with the largest weight for each token of the translation"));
    parts.push(make("p", {className: "quiet"},
      "Each row is a token of the translation. The stronger the color of a cell, the more the token attends to the source token."));
  }
  return parts;
}

// Marks the answer in its passage. Positions count characters, as in Python.
function question(answer, given) {
  const characters = [...given.passage];
  const parts = [make("p", {className: "said"}, answer.text || "no answer in the passage")];
  if (answer.start >= 0 && answer.text) {
    const end = answer.start + [...answer.text].length;
    const piece = (a, b) => characters.slice(a, b).join("");
    parts.push(make("p", {className: "passage"}, piece(0, answer.start),
      make("mark", {}, piece(answer.start, end)), piece(end)));
  }
  parts.push(bars((answer.n_best ?? [answer]).map(one => [one.text || "no answer", one.probability])));
  return parts;
}

// Joins tokens to words: a leading space marks the start of a word.
function words(tokens) {
  const found = [];
  for (const {text, start, end} of tokens) {
    if (!found.length || text.startsWith(" ")) found.push({text: text.trimStart(), start, end});
    else Object.assign(found.at(-1), {text: found.at(-1).text + text, end});
  }
  return found.filter(({text}) => text);
}

function transcript(answer) {
  const parts = [make("p", {className: "said"}, answer.text || "no words were recognized")];
  parts.push(make("ul", {className: "spoken"}, ...words(answer.tokens).slice(0, 500).map(({text, start, end}) =>
    make("li", {}, text, make("small", {}, `${start.toFixed(2)}–${end.toFixed(2)} s`)))));
  if (answer.seconds) parts.push(make("p", {className: "quiet"}, `${answer.seconds.toFixed(1)} seconds of audio`));
  return parts;
}

function continuation(answer, given) {
  return [make("p", {className: "said"},
    make("span", {className: "prompt"}, given.prompt), make("span", {className: "new"}, answer.text))];
}

function content(answer, given) {
  if (Array.isArray(answer)) return answer.some(one => one.points) ? [] : steps(answer);
  if (given.prompt !== undefined) return continuation(answer, given);
  if (given.passage !== undefined) return question(answer, given);
  if (Array.isArray(answer.tokens) && "text" in answer && !("score" in answer)) return transcript(answer);
  if ("log_probability" in answer) return translation(answer);
  if ("perplexity" in answer) {
    return [make("p", {className: "said"}, `perplexity ${answer.perplexity}`),
      make("p", {className: "quiet"}, `${answer.tokens} tokens`)];
  }
  return target(answer);
}

// Returns a card with an answer. What was asked stands above it if there are several.
export function card(answer, given, heading) {
  const parts = content(answer, given);
  const json = make("pre", {tabIndex: 0}, JSON.stringify(answer, null, 1));
  return make("article", {className: "card"},
    ...(heading ? [make("p", {className: "given"}, heading)] : []), ...parts,
    parts.length ? folded("Answer as JSON", json) : json);
}
