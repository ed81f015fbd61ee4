// Changes the sample rate of audio that arrives in pieces.

// Zero crossings of the sinc on each side. A model hears a missing band, so that the edge is steep:
// it goes from 0.97 to 1 of the smaller Nyquist frequency.
const CROSSINGS = 64;
const ROLLOFF = 0.985; // Cutoff, as a share of the smaller Nyquist frequency.

function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}

// Filters with a windowed sinc (Smith, "Digital Audio Resampling", 1984). The outputs of the pieces,
// joined, are those of the whole recording, wherever it is divided.
export class Resampler {
  constructor(from, to) {
    const common = divisor(from, to);
    this.up = to / common;
    this.down = from / common;
    const cutoff = ROLLOFF * Math.min(1, to / from);
    this.half = Math.ceil(CROSSINGS / cutoff);
    this.kernels = Array.from({length: this.up}, (_, phase) => this.kernel(phase / this.up, cutoff));
    this.kept = new Float32Array(this.half); // silence before the first sample
    this.start = -this.half; // index of the first kept sample
    this.count = 0; // samples that were returned
    this.total = 0; // samples that have arrived
    this.cutoff = cutoff;
  }

  // Weights of the samples around a point that is a fraction of a sample after the middle one.
  kernel(fraction, cutoff) {
    const weights = new Float32Array(2 * this.half + 1);
    let sum = 0;
    for (let i = 0; i < weights.length; i += 1) {
      const time = i - this.half - fraction;
      const angle = Math.PI * cutoff * time;
      const sinc = angle === 0 ? 1 : Math.sin(angle) / angle;
      const place = Math.min(1, Math.abs(time) / (this.half + 1));
      weights[i] = sinc * Math.cos((Math.PI / 2) * place) ** 2;
      sum += weights[i];
    }
    return weights.map(weight => weight / sum);
  }

  // Returns the samples at the new rate that can be computed by now.
  accept(samples) {
    this.total += samples.length;
    return this.filter(samples);
  }

  // Returns the last samples; silence follows the recording.
  finish() {
    const wanted = Math.ceil((this.total * this.up) / this.down);
    const last = this.filter(new Float32Array(this.half + 1));
    return last.subarray(0, Math.max(0, last.length - (this.count - wanted)));
  }

  filter(samples) {
    const all = new Float32Array(this.kept.length + samples.length);
    all.set(this.kept);
    all.set(samples, this.kept.length);
    const end = this.start + all.length;
    const found = [];
    for (;;) {
      const place = this.count * this.down;
      const middle = Math.floor(place / this.up);
      if (middle + this.half >= end) break;
      const weights = this.kernels[place % this.up];
      const first = middle - this.half - this.start;
      let sum = 0;
      for (let i = 0; i < weights.length; i += 1) sum += weights[i] * all[first + i];
      found.push(sum);
      this.count += 1;
    }
    const next = Math.floor((this.count * this.down) / this.up) - this.half;
    const drop = Math.min(all.length, Math.max(0, next - this.start));
    this.kept = all.slice(drop);
    this.start += drop;
    return Float32Array.from(found);
  }
}

// Converts samples from -1 to 1 to 16-bit integers.
export function pcm16(samples) {
  return Int16Array.from(samples, one => Math.round(32767 * Math.max(-1, Math.min(1, one))));
}

// Returns a WAV file with 16-bit mono samples.
export function wav(pieces, rate) {
  const bytes = 2 * pieces.reduce((sum, piece) => sum + piece.length, 0);
  const view = new DataView(new ArrayBuffer(44));
  const text = (at, name) => [...name].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // size of the format
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per sample
  view.setUint16(34, 16, true); // bits per sample
  text(36, "data");
  view.setUint32(40, bytes, true);
  return new Blob([view, ...pieces], {type: "audio/wav"});
}
