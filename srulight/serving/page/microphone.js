// Records the microphone at the sample rate of the model, and streams it to the server.

import {Resampler, pcm16, wav} from "./resampler.js";

const REASONS = {
  NotAllowedError: "the browser does not allow the microphone; allow it for this page",
  NotFoundError: "there is no microphone; connect one, or choose a file",
  NotReadableError: "another program uses the microphone; close it",
};

// Opens the microphone. Calls onSamples with 16-bit samples, and resolves to a function that stops.
async function listen(rate, onSamples) {
  if (!navigator.mediaDevices) {
    throw new Error("the browser allows the microphone only over HTTPS or on localhost");
  }
  const audio = {
    channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false,
  };
  // Everything is ready before the microphone opens, so that the first sounds are not lost.
  const context = new AudioContext();
  let media;
  const close = () => {
    media?.getTracks().forEach(track => track.stop());
    return context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
    await context.resume();
    const resampler = new Resampler(context.sampleRate, rate);
    const node = new AudioWorkletNode(context, "capture", {numberOfOutputs: 0});
    const ended = new Promise(resolve => {
      node.port.onmessage = ({data}) => (data ? onSamples(pcm16(resampler.accept(data))) : resolve());
    });
    media = await navigator.mediaDevices.getUserMedia({audio});
    context.createMediaStreamSource(media).connect(node);
    return async () => {
      node.port.postMessage("end");
      await ended;
      await close();
      onSamples(pcm16(resampler.finish()));
    };
  } catch (error) {
    await close();
    throw new Error(REASONS[error.name] ?? error.message);
  }
}

// A browser cannot send the header Authorization with a WebSocket, but names of protocols.
function protocols(token) {
  if (!token) return [];
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  return ["srulight", `bearer.${btoa(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "")}`];
}

// Records until stop() is called, and shows the text while it arrives if the model can.
export class Recording {
  constructor(about, token, onWords, onFail) {
    this.about = about;
    this.token = token;
    this.onWords = onWords;
    this.onFail = onFail;
    this.pieces = [];
    this.samples = 0;
  }

  get seconds() {
    return this.samples / this.about.sample_rate;
  }

  async start() {
    if (this.about.streams) await this.connect();
    try {
      this.close = await listen(this.about.sample_rate, samples => this.accept(samples));
    } catch (error) {
      this.socket?.close();
      throw error;
    }
  }

  connect() {
    const url = new URL("v1/stream", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.socket = new WebSocket(url, protocols(this.token));
    this.final = new Promise((resolve, reject) => { this.finished = resolve; this.failed = reject; });
    this.final.catch(() => {});
    return new Promise((resolve, reject) => {
      const fail = error => {
        this.socket.onclose = this.socket.onmessage = null; // the first reason is the right one
        reject(error);
        this.failed(error);
        this.onFail(error);
      };
      this.socket.onmessage = ({data}) => {
        const answer = JSON.parse(data);
        if (answer.error !== undefined) fail(new Error(answer.error));
        else if (answer.final) this.finished(answer);
        else if (answer.sample_rate) resolve();
        else this.onWords(answer.text);
      };
      this.socket.onclose = () => fail(new Error(this.token
        ? "the server has closed the stream; check the token" : "the server has closed the stream"));
    });
  }

  accept(samples) {
    this.samples += samples.length;
    if (!samples.length) return;
    if (!this.socket) this.pieces.push(samples);
    else if (this.socket.readyState === WebSocket.OPEN) this.socket.send(samples);
  }

  // Stops, and returns the last answer of the stream, or the recording as a WAV file.
  async stop() {
    await this.close();
    if (!this.socket) return {file: wav(this.pieces, this.about.sample_rate)};
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({end: true}));
    const answer = await this.final;
    this.socket.onclose = null;
    this.socket.close();
    return {answer: {...answer, seconds: this.seconds}};
  }
}
