// Plays a sequence of Gaussians in a canvas. This is the scripting interface, too: a page's player is `window.gvf`.

import { backgroundColor } from "./background.js";
import { completeCamera, homeFor } from "./camera.js";
import { interpolate } from "./interpolation.js";
import { Pace } from "./pace.js";
import { Playback } from "./playback.js";
import { SplatRenderer } from "./renderer.js";

const MOST_PIXELS = 2; // for one of CSS and axis; more costs time and shows nothing

/** A sequence, a camera and a clock. Dispatches `change` when any of them changes, `failure` with a `message`. */
export class Player extends EventTarget {
  #canvas;
  #renderer;
  #sequence;
  #playback;
  #camera;
  #background = "white";
  #interpolated = false;
  #mixed = null;
  #loaded = ""; // the moment on the GPU
  #frames = new Map();
  #scheduled = 0;
  #last = null;
  #pace = new Pace();
  #drawn = { key: "", at: null }; // what the canvas shows, and since when, if the last tick drew it
  #devicePixels = null;
  #waiting = []; // those who wait until the view has settled
  #awaited = null; // a promise of a frame that is being unpacked

  /**
   * canvas: its size on the page is the size drawn. sequence: what decodeAsset returns. camera: the input's camera, if
   * known. Throws Error with a message for people when the device cannot draw the sequence.
   */
  constructor(canvas, sequence, { camera = null } = {}) {
    super();
    this.#canvas = canvas;
    this.#sequence = sequence;
    this.#playback = new Playback(sequence.numFrames, sequence.framesPerSecond);
    this.#start();
    this.home = homeFor(this.#frame(0).means);
    this.inputCamera = camera === null ? null : completeCamera(camera);
    this.#camera = this.inputCamera ?? this.home;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#start();
      this.refresh();
    });
    this.#watchSize();
    this.refresh();
  }

  get numGaussians() {
    return this.#sequence.numGaussians;
  }

  get numFrames() {
    return this.#playback.numFrames;
  }

  get framesPerSecond() {
    return this.#playback.framesPerSecond;
  }

  /** The frame that shows; assign to seek. */
  get frame() {
    return this.#playback.frame;
  }

  set frame(value) {
    this.#playback.seek(value);
    this.refresh();
  }

  get playing() {
    return this.#playback.playing;
  }

  get backwards() {
    return this.#playback.backwards;
  }

  /** How fast time passes, 0.05 to 4. */
  get speed() {
    return this.#playback.speed;
  }

  set speed(value) {
    this.#playback.speed = value;
    this.refresh();
  }

  /** At the end of the sequence: `loop` or `bounce`. */
  get mode() {
    return this.#playback.mode;
  }

  set mode(value) {
    this.#playback.mode = value;
    this.refresh();
  }

  /** Whether moments between frames are mixed from both; the model made the frames only. */
  get interpolated() {
    return this.#interpolated;
  }

  set interpolated(value) {
    this.#interpolated = Boolean(value);
    this.refresh();
  }

  /** The camera, see completeCamera; what is assigned may name only some of its values. */
  get camera() {
    return structuredClone(this.#camera);
  }

  set camera(value) {
    this.#camera = completeCamera(value, this.#camera);
    this.#pace.move(performance.now());
    this.refresh();
  }

  /** `white`, `grey`, `black`, `transparent` or `#rrggbb`. */
  get background() {
    return this.#background;
  }

  set background(value) {
    backgroundColor(value);
    this.#background = value;
    this.refresh();
  }

  play() {
    this.#playback.playing = this.numFrames > 1;
    this.refresh();
  }

  pause() {
    this.#playback.playing = false;
    this.refresh();
  }

  /** Pause at the frame `count` further on. */
  step(count = 1) {
    this.#playback.playing = false;
    this.#playback.step(count);
    this.refresh();
  }

  /**
   * Resolve to the pixels of any frame from any camera, whatever shows: {width, height, data}, straight alpha, row by row
   * from the top left, Uint8ClampedArray. Takes what is not given from the current view.
   */
  async render({ frame = this.frame, camera = {}, width, height = width, background = this.#background } = {}) {
    const [own, wanted] = [this.#size(1), backgroundColor(background)];
    const size = [width ?? own[0], height ?? own[1]];
    if (!Number.isInteger(frame) || frame < 0 || frame >= this.numFrames) {
      throw new RangeError(`The sequence has frames 0 to ${this.numFrames - 1}.`);
    }
    if (this.#frame(frame) === null) this.#keep(frame, await this.#sequence.load(frame));
    this.#load(frame);
    const data = this.#renderer.read(completeCamera(camera, this.#camera), ...size, wanted);
    this.refresh();
    return { width: size[0], height: size[1], data };
  }

  /** Resolve to the current view as a PNG, at the size of the canvas in device pixels, or the size given. */
  async picture(size = {}) {
    const { width, height, data } = await this.render({ ...size });
    const sheet = new OffscreenCanvas(width, height);
    sheet.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
    return sheet.convertToBlob({ type: "image/png" });
  }

  /** Resolve when the canvas shows the paused moment at full resolution, to take pictures of the whole page. */
  settled() {
    this.#request();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Seconds that the last sort took, and pixels of the canvas. */
  get statistics() {
    return { sortSeconds: this.#renderer.sortSeconds, width: this.#canvas.width, height: this.#canvas.height };
  }

  /** Draw again before the browser next shows the page, and tell listeners. */
  refresh() {
    this.#request();
    this.dispatchEvent(new Event("change"));
  }

  #request() {
    if (this.#scheduled === 0) this.#scheduled = requestAnimationFrame((now) => this.#tick(now));
  }

  #start() {
    this.#renderer = new SplatRenderer(this.#canvas);
    this.#renderer.allocate(this.#sequence.numGaussians, this.#sequence);
    this.#loaded = "";
    this.#drawn.key = "";
  }

  #tick(now) {
    this.#scheduled = 0;
    const held = this.#last === null || this.#awaited !== null; // the clock waits for frames that are being unpacked
    const elapsed = held ? 0 : (now - this.#last) / 1000;
    this.#playback.advance(Math.min(elapsed, 1));
    this.#last = this.playing ? now : null;
    if (this.#drawn.at !== null) this.#pace.took(now - this.#drawn.at);
    this.#drawn.at = null;
    if (this.playing) this.#pace.move(now);
    try {
      this.#draw(now);
    } catch (error) {
      this.#fail(error);
      return;
    }
    if (this.playing) this.refresh();
    else if (this.#pace.moving(now)) this.#request(); // until it has come to rest, and is drawn at full resolution
    else this.#rest();
  }

  #rest() {
    this.#drawn.at = null; // the next image may be long in coming
    if (this.#awaited === null) this.#waiting.splice(0).forEach((resolve) => resolve());
  }

  /** Draw what has changed since the last image; a browser keeps showing that. */
  #draw(now) {
    const [width, height] = this.#size(this.#pace.scale(now));
    const position = this.#interpolated ? this.#playback.position : this.frame;
    const key = JSON.stringify([width, height, position, this.#camera, this.#background]);
    if (key === this.#drawn.key) return;
    if (!this.#load(position)) return; // what shows stays
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    this.#renderer.draw(this.#camera, backgroundColor(this.#background));
    this.#drawn = { key, at: now };
  }

  /** Follow the canvas's size on the page, in device pixels where the browser knows them exactly. */
  #watchSize() {
    const observer = new ResizeObserver(([entry]) => {
      const box = entry.devicePixelContentBoxSize?.[0];
      this.#devicePixels = box === undefined ? null : [box.inlineSize, box.blockSize];
      this.refresh();
    });
    try {
      observer.observe(this.#canvas, { box: "device-pixel-content-box" });
    } catch {
      observer.observe(this.#canvas);
    }
  }

  /** Return the size to draw in pixels: that of the canvas on the screen, at most two pixels for one of CSS. */
  #size(scale) {
    const ratio = globalThis.devicePixelRatio || 1;
    const { clientWidth, clientHeight } = this.#canvas;
    const exact = this.#devicePixels ?? [clientWidth * ratio, clientHeight * ratio];
    const factor = Math.min(1, MOST_PIXELS / ratio) * scale;
    return exact.map((side) => Math.max(1, Math.round(side * factor)));
  }

  /** Bring one moment, a position in frames, to the GPU; false if its frames are still being unpacked. */
  #load(position) {
    if (this.#loaded === position) return true;
    const [whole, share] = [Math.floor(position), position % 1];
    const needed = share > 0 ? [whole, whole + 1] : [whole];
    const frames = needed.map((index) => this.#frame(index));
    const missing = frames.indexOf(null);
    if (missing >= 0) {
      this.#await(needed[missing]);
      return false;
    }
    if (share > 0) this.#mixed = interpolate(...frames, share, this.#mixed);
    this.#renderer.upload(share > 0 ? this.#mixed : frames[0]);
    this.#loaded = position;
    return true;
  }

  /** Return one frame's Gaussians, or null while they are being unpacked; the last two are kept. */
  #frame(index) {
    const found = this.#frames.get(index) ?? this.#sequence.frame(index);
    if (found !== null) this.#keep(index, found);
    return found;
  }

  #keep(index, gaussians) {
    this.#frames.delete(index); // and to the end, as the youngest
    this.#frames.set(index, gaussians);
    if (this.#frames.size > 2) this.#frames.delete(this.#frames.keys().next().value);
  }

  /** Draw again when a frame has been unpacked; one at a time. */
  #await(index) {
    if (this.#awaited !== null) return;
    this.#awaited = this.#sequence
      .load(index)
      .then((gaussians) => this.#keep(index, gaussians))
      .finally(() => {
        this.#awaited = null;
      })
      .then(() => this.refresh())
      .catch((error) => this.#fail(error));
  }

  #fail(error) {
    this.#playback.playing = false;
    this.dispatchEvent(Object.assign(new Event("failure"), { message: error.message }));
  }
}
