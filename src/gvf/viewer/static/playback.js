// The animation's clock: which frame shows, and how time passes.

/** Names of what happens at the end: start again, or run backwards. */
export const MODES = ["loop", "bounce"];

const SPEEDS = [0.05, 4];

/** A position in a sequence of frames that moves while it plays. Frame i shows from i / framesPerSecond on. */
export class Playback {
  #position = 0; // frames, in [0, numFrames)
  #backwards = false;
  #speed = 1;
  #mode = MODES[0];

  constructor(numFrames, framesPerSecond) {
    Object.assign(this, { numFrames, framesPerSecond });
    this.playing = false;
  }

  /** The frame that shows, a whole number. */
  get frame() {
    const nearest = this.#mode === "bounce" ? Math.round(this.#position) : Math.floor(this.#position);
    return Math.min(nearest, this.numFrames - 1);
  }

  /** The exact position in frames, for interpolation; at most the last frame. */
  get position() {
    return Math.min(this.#position, this.numFrames - 1);
  }

  /** Seconds of the animation at this moment. */
  get seconds() {
    return this.#position / this.framesPerSecond;
  }

  /** Whether time runs towards the start. */
  get backwards() {
    return this.#backwards;
  }

  /** How fast time passes; 1 is the asset's own speed. */
  get speed() {
    return this.#speed;
  }

  set speed(value) {
    if (!Number.isFinite(value)) throw new TypeError("The speed must be a number.");
    this.#speed = Math.min(Math.max(value, SPEEDS[0]), SPEEDS[1]);
  }

  /** `loop` or `bounce`. */
  get mode() {
    return this.#mode;
  }

  set mode(value) {
    if (!MODES.includes(value)) throw new TypeError(`The mode must be one of ${MODES.join(", ")}.`);
    this.#mode = value;
    if (value === "loop") this.#backwards = false;
  }

  /** Show a frame; one outside the sequence becomes its first or last, and fractions are kept. */
  seek(frame) {
    if (!Number.isFinite(frame)) throw new TypeError("The frame must be a number.");
    this.#position = Math.min(Math.max(frame, 0), this.numFrames - 1);
    this.#backwards = false;
  }

  /** Show the next frame, or the one `count` further; past an end the sequence goes on at the other. */
  step(count = 1) {
    this.seek((((this.frame + count) % this.numFrames) + this.numFrames) % this.numFrames);
  }

  /** Let `elapsed` seconds pass on the viewer's clock. */
  advance(elapsed) {
    if (!this.playing || this.numFrames < 2) return;
    const distance = elapsed * this.#speed * this.framesPerSecond;
    if (this.#mode === "loop") {
      this.#position = (this.#position + distance) % this.numFrames;
      return;
    }
    const last = this.numFrames - 1; // there and back again: a triangle wave of period 2 last
    const phase = (this.#backwards ? 2 * last - this.position : this.position) + distance;
    const wrapped = phase % (2 * last);
    this.#backwards = wrapped > last;
    this.#position = this.#backwards ? 2 * last - wrapped : wrapped;
  }
}
