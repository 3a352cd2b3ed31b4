// Mouse, pen and touch on the canvas: one pointer turns the object, two move and zoom it.

import { orbited, panned, zoomed } from "./camera.js";

const TURN = 180; // degrees for a drag over the shorter side of the canvas
const WHEEL = 0.0015; // per pixel of scrolling
const LINE = 16; // pixels
const PINCH_WHEEL = 8; // trackpads report a pinch as small wheel steps with Ctrl

/** Moves a player's camera by the pointers on its canvas. */
export class Controls {
  #canvas;
  #player;
  #pointers = new Map();

  constructor(canvas, player) {
    this.#canvas = canvas;
    this.#player = player;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => this.#pointers.delete(event.pointerId));
    }
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => {
      player.camera = player.home;
    });
  }

  #down(event) {
    try {
      this.#canvas.setPointerCapture(event.pointerId);
    } catch {
      // the pointer has just left; without a capture it is followed as long as it is over the canvas
    }
    this.#canvas.focus({ preventScroll: true });
    this.#pointers.set(event.pointerId, [event.clientX, event.clientY]);
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (before === undefined) return;
    const side = Math.min(this.#canvas.clientWidth, this.#canvas.clientHeight);
    const now = [event.clientX, event.clientY];
    const [x, y] = [(now[0] - before[0]) / side, (now[1] - before[1]) / side];
    const { camera } = this.#player;
    if (this.#pointers.size === 1) {
      const moves = event.shiftKey || event.ctrlKey || event.metaKey || (event.buttons & 6) !== 0;
      this.#player.camera = moves ? panned(camera, x, y) : orbited(camera, -x * TURN, y * TURN);
    } else {
      const other = [...this.#pointers].find(([id]) => id !== event.pointerId)[1];
      const [apart, was] = [distance(now, other), distance(before, other)];
      const share = 1 / this.#pointers.size;
      this.#player.camera = zoomed(panned(camera, x * share, y * share), apart > 0 && was > 0 ? was / apart : 1);
    }
    this.#pointers.set(event.pointerId, now);
  }

  #wheel(event) {
    event.preventDefault();
    const unit = [1, LINE, this.#canvas.clientHeight][event.deltaMode] * (event.ctrlKey ? PINCH_WHEEL : 1);
    const amount = Math.min(Math.max(event.deltaY * unit * WHEEL, -1), 1);
    this.#player.camera = zoomed(this.#player.camera, Math.exp(amount));
  }
}

function distance(a, b) {
  return Math.hypot(a[0] - b[0], a[1] - b[1]);
}
