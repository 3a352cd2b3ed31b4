// How finely a moving image is drawn: as finely as the device manages, and always fully when it is still.

const SCALES = [1, 0.75, 0.5, 0.35]; // of the full resolution, along each axis
const [SLOW, QUICK] = [60, 22]; // milliseconds for an image
const PATIENCE = { slow: 3, quick: 90 }; // images in a row before the resolution falls or rises
const SETTLES = 250; // milliseconds after the last movement

/** Watches how long images take, and chooses the resolution of the next one. */
export class Pace {
  #level = 0;
  #streak = 0; // images in a row that were slow (positive) or quick (negative)
  #moved = -Infinity;

  /** Tell that the view moves at this moment. */
  move(now) {
    this.#moved = now;
  }

  /** Return whether something has moved a moment ago. */
  moving(now) {
    return now - this.#moved < SETTLES;
  }

  /** Take the milliseconds that an image took. */
  took(duration) {
    const direction = duration > SLOW ? 1 : duration < QUICK ? -1 : 0;
    this.#streak = direction * this.#streak > 0 ? this.#streak + direction : direction;
    if (this.#streak < PATIENCE.slow && this.#streak > -PATIENCE.quick) return;
    this.#level = Math.min(Math.max(this.#level + direction, 0), SCALES.length - 1);
    this.#streak = 0;
  }

  /** Return the share of the full resolution for an image at this moment. */
  scale(now) {
    return this.moving(now) ? SCALES[this.#level] : 1;
  }
}
