// The page: sends what users write, and shows the answers.

import {card} from "./answers.js";
import {make} from "./charts.js";
import {chosen, inputs, options} from "./form.js";
import {Recording} from "./microphone.js";

const find = id => document.getElementById(id);
const about = JSON.parse(find("about").textContent);
const form = find("form");
const given = inputs(about);
const hasFiles = Object.keys(about.files).length > 0;
const generates = Object.keys(about.generator).length > 0;
const isSpeech = hasFiles && about.sample_rate;

function fail(error) {
  find("error").textContent = String(error.message ?? error);
  find("error").hidden = false;
}

function show(...cards) {
  find("answer").replaceChildren(...cards);
  find("answer").hidden = !cards.length;
}

async function post(path, type, body) {
  const headers = {"Content-Type": type};
  if (find("token").value) headers.Authorization = `Bearer ${find("token").value}`;
  let response;
  try {
    response = await fetch(path, {method: "POST", headers, body});
  } catch {
    throw new Error("the server does not answer; check whether it still runs");
  }
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

function ask(path, body) {
  return post(path, "application/json", JSON.stringify(body));
}

async function predict() {
  const values = given.read();
  const wanted = chosen(about.options);
  if (hasFiles) return sendFile(values, wanted);
  const {answers} = await ask("v1/predict", {inputs: values, ...wanted});
  const isOne = values.length === 1;
  show(...answers.map((one, i) => card(one, values[i], isOne ? "" : String(values[i]))));
}

async function sendFile(file, wanted) {
  const ending = file.name.slice(file.name.lastIndexOf(".")).toLowerCase();
  const known = Object.entries(about.files).find(([, value]) => value === ending);
  const query = new URLSearchParams(wanted).toString();
  const path = query ? `v1/predict?${query}` : "v1/predict";
  const {answers} = await post(path, known ? known[0] : file.type || "application/octet-stream", file);
  show(...answers.map(one => card(one, {})));
}

async function generate() {
  const asked = {prompt: given.prompt(), ...chosen(about.generator)};
  show(card(await ask("v1/generate", asked), asked));
}

// Runs an action of a button: one at a time, with its errors on the page.
async function run(action) {
  if (form.ariaBusy === "true") return;
  form.ariaBusy = "true";
  find("error").hidden = true;
  find("status").textContent = "The model computes …";
  for (const button of form.querySelectorAll("button")) button.disabled = true;
  try {
    await action();
    find("status").textContent = "";
  } catch (error) {
    find("status").textContent = "";
    show();
    fail(error);
  } finally {
    form.ariaBusy = "false";
    for (const button of form.querySelectorAll("button")) button.disabled = false;
  }
}

let recording = null;
let clock = 0;

async function record() {
  const said = make("p", {className: "said"}, about.streams ? "Listening …" : "The text follows after the recording.");
  const most = about.streams ? about.max_stream_seconds : about.max_seconds;
  const current = new Recording(about, find("token").value, text => { said.textContent = text || said.textContent; }, error => {
    if (recording === current) run(async () => { await current.close?.(); throw error; }).finally(idle);
  });
  await current.start();
  recording = current;
  show(make("article", {className: "card"}, said));
  const tick = () => {
    find("status").textContent = `Recording: ${current.seconds.toFixed(0)} seconds`;
    if (current.seconds >= most - 1) stop();
  };
  clock = setInterval(tick, 250);
  find("record").textContent = "Stop";
  find("record").ariaPressed = "true";
}

function idle() {
  clearInterval(clock);
  recording = null;
  find("record").textContent = "Record";
  find("record").ariaPressed = "false";
}

function stop() {
  const current = recording;
  idle();
  return run(async () => {
    const {answer, file} = await current.stop();
    if (answer) show(card(answer, {}));
    else await sendFile(new File([file], "microphone.wav", {type: file.type}), chosen(about.options));
  });
}

find("inputs").append(...given.fields);
find("options").append(...options(generates ? about.generator : about.options));
find("token-field").hidden = !about.needs_token;
find("buttons").append(make("button", {type: "submit"}, generates ? "Continue" : "Send"));
if (generates) {
  const score = make("button", {type: "button", className: "second"}, "Perplexity of each line");
  score.addEventListener("click", () => run(predict));
  find("buttons").append(score);
}
if (isSpeech) {
  const button = make("button", {type: "button", className: "second", id: "record", ariaPressed: "false"}, "Record");
  button.addEventListener("click", () => (recording ? stop() : run(record).then(
    () => { if (recording) find("status").textContent = "Recording"; })));
  find("buttons").append(button);
}
form.addEventListener("submit", event => {
  event.preventDefault();
  run(generates ? generate : predict);
});
form.addEventListener("keydown", event => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});
