// Runs in the audio thread: mixes the channels of the microphone, and passes samples on in pieces.

const SIZE = 2048; // samples per piece

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Float32Array(SIZE);
    this.filled = 0;
    this.isOpen = true;
    this.port.onmessage = () => { // the end
      this.isOpen = false;
      this.pass();
      this.port.postMessage(null);
    };
  }

  pass() {
    this.port.postMessage(this.samples.slice(0, this.filled));
    this.filled = 0;
  }

  process([channels]) {
    const count = channels.length ? channels[0].length : 0;
    for (let i = 0; i < count && this.isOpen; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.samples[this.filled] = sum / channels.length;
      this.filled += 1;
      if (this.filled === SIZE) this.pass();
    }
    return this.isOpen;
  }
}

registerProcessor("capture", Capture);
