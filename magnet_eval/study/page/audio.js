// Sounds that run together: one source and one gain for each, all started at the same sample, so that switching is a
// 5 ms cross-fade of gains and never loses the place. What was heard is counted on the clock of the audio hardware.

const RAMP = 0.005; // seconds of a fade
const AHEAD = 0.03; // seconds between the decision and the start: every source has to be scheduled before it
const BINS = 20; // per second, for what has been heard

let context = null;

/** The one AudioContext, at the packet's rate; call it in a click first, as browsers demand. */
export function sound(rate) {
  if (!context) {
    try {
      context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
    } catch {
      context = new AudioContext(); // a browser without this rate resamples
    }
  }
  return context;
}

/** Keeps the decoded files of a few URLs: those of this page and the next. */
export class Library {
  #files = new Map();

  constructor(rate) {
    this.rate = rate;
  }

  /** The decoded files of `urls`, in their order; with `keep`, all others are let go. */
  async get(urls, keep = null) {
    if (keep) for (const url of this.#files.keys()) if (!keep.includes(url)) this.#files.delete(url);
    return Promise.all(urls.map((url) => this.#file(url)));
  }

  #file(url) {
    if (!this.#files.has(url)) {
      const file = this.#load(url);
      this.#files.set(url, file);
      file.catch(() => this.#files.delete(url)); // so that the next try is a new one
    }
    return this.#files.get(url);
  }

  async #load(url) {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url}: ${response.status}`);
    // Decoding needs no click if it is done offline, and at the file's own rate it changes no sample.
    return new OfflineAudioContext(1, 1, this.rate).decodeAudioData(await response.arrayBuffer());
  }
}

/** What has been heard of one sound: how often it was started, how long, and which parts. */
export class Heard {
  constructor(duration, before = {}) {
    this.duration = duration;
    this.plays = before.plays ?? 0;
    this.seconds = before.heard_s ?? 0;
    const bins = Math.max(1, Math.ceil(duration * BINS - 1e-6));
    this.bins = before.heard_all ? new Array(bins).fill(1) : Array.from({ length: bins }, (_, bin) => before.bins?.[bin] ?? 0);
  }

  /** Adds `length` seconds from `from`, going round at the end. */
  add(from, length) {
    if (length <= 0) return;
    this.seconds += length;
    const [first, last] = [Math.floor(from * BINS + 1e-6), Math.ceil((from + length) * BINS - 1e-6)];
    for (let bin = first; bin < Math.min(last, first + this.bins.length); bin++) this.bins[bin % this.bins.length] = 1;
  }

  get share() {
    return this.bins.reduce((sum, bin) => sum + bin, 0) / this.bins.length;
  }

  /** Whether all of it was heard, `times` over. */
  complete(times = 1) {
    return this.share === 1 && this.seconds >= (times - 1) * this.duration;
  }
}

/** A set of sounds of equal length that play in step, one of them audible. Calls `changed()` after each change. */
export class Deck {
  constructor(rate, buffers, changed) {
    this.rate = rate;
    this.buffers = buffers; // id -> AudioBuffer
    this.changed = changed;
    this.duration = Math.min(...[...buffers.values()].map((buffer) => buffer.duration));
    this.heard = new Map([...buffers.keys()].map((id) => [id, new Heard(this.duration)]));
    this.current = null;
    this.looping = true;
    this.offset = 0; // where to go on, in seconds
    this.voices = null; // id -> {source, gain} while playing
  }

  get playing() {
    return this.voices !== null;
  }

  /** Seconds into the sounds, now. */
  get position() {
    if (!this.playing) return this.offset;
    return (this.offset + Math.max(0, Math.min(sound(this.rate).currentTime, this.until) - this.when)) % this.duration;
  }

  /** Makes `id` the audible one, from where the others are; pauses if it already is. */
  async toggle(id) {
    if (this.playing && this.current === id) return this.pause();
    const context = sound(this.rate);
    if (context.state !== "running") await context.resume();
    this.heard.get(id).plays++;
    if (!this.playing) {
      this.current = id;
      this.#start(context);
    } else {
      this.count();
      this.#fade(this.current, 0);
      this.current = id;
      this.#fade(id, 1);
    }
    return this.changed();
  }

  /** Goes on from another place. */
  seek(seconds) {
    const playing = this.playing;
    if (playing) this.#stop();
    this.offset = Math.round(Math.min(Math.max(seconds, 0), this.duration) * this.rate) / this.rate % this.duration;
    if (playing) this.#start(sound(this.rate));
    this.changed();
  }

  pause() {
    if (!this.playing) return;
    this.offset = Math.round(this.#stop() * this.rate) / this.rate % this.duration;
    this.changed();
  }

  loop(on) {
    this.count();
    this.looping = on;
    for (const { source } of this.voices?.values() ?? []) source.loop = on;
    if (!on) this.until = Math.min(this.until, this.counted + this.duration - this.#place);
    else if (this.counted < this.until) this.until = Infinity; // else they are over, and this comes too late
    this.changed();
  }

  /** Adds what was heard since the last count, up to the end: the event that tells of the end comes later. */
  count(now = sound(this.rate).currentTime) {
    if (!this.playing) return;
    now = Math.min(Math.max(this.when, now), this.until);
    this.heard.get(this.current).add(this.#place, now - this.counted);
    this.counted = now;
  }

  /** Seconds into the sounds, at the last count. */
  get #place() {
    return (this.offset + this.counted - this.when) % this.duration;
  }

  #start(context) {
    this.when = this.counted = context.currentTime + AHEAD;
    this.until = this.looping ? Infinity : this.when + this.duration - this.offset; // on the hardware's clock
    this.voices = new Map();
    for (const [id, buffer] of this.buffers) {
      const source = new AudioBufferSourceNode(context, { buffer, loop: this.looping, loopEnd: this.duration });
      const gain = new GainNode(context, { gain: 0 });
      source.connect(gain).connect(context.destination);
      source.start(this.when, this.offset);
      this.voices.set(id, { source, gain });
    }
    const { source } = this.voices.get(this.current);
    const voices = this.voices;
    source.onended = () => this.voices === voices && this.#ended();
    for (const voice of voices.values()) if (voice.source !== source) voice.source.onended = source.onended;
    this.#fade(this.current, 1, this.when);
  }

  #ended() {
    this.count(this.looping ? undefined : this.until); // the clock may stand a little before the end
    for (const { source } of this.voices.values()) source.stop();
    this.voices = null;
    this.offset = 0;
    this.changed();
  }

  #stop() {
    this.count();
    const position = this.position;
    const now = sound(this.rate).currentTime;
    this.#fade(this.current, 0);
    for (const { source } of this.voices.values()) source.stop(now + 2 * RAMP);
    this.voices = null;
    return position;
  }

  #fade(id, to, when = sound(this.rate).currentTime) {
    const { gain } = this.voices.get(id).gain;
    gain.cancelScheduledValues(when);
    gain.setValueAtTime(gain.value, when);
    gain.linearRampToValueAtTime(to, when + RAMP);
  }
}

/** Plays one buffer to its end, as it is. */
export async function playOnce(rate, buffer) {
  const context = sound(rate);
  if (context.state !== "running") await context.resume();
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  source.start();
  return new Promise((resolve) => (source.onended = resolve));
}
