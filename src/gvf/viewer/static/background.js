// What the object stands on: a colour, or nothing, which the page shows as a checkerboard.

/** Named backgrounds; `transparent` has no colour. */
export const BACKGROUNDS = { white: "#ffffff", grey: "#808080", black: "#000000", transparent: null };

/**
 * Return a background as [r, g, b, a] in [0, 1], display sRGB. given: one of the names, or `#rrggbb`. Throws TypeError for
 * anything else.
 */
export function backgroundColor(given) {
  const hex = Object.hasOwn(BACKGROUNDS, given) ? BACKGROUNDS[given] : given;
  if (hex === null) return [0, 0, 0, 0];
  const digits = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(hex);
  if (digits === null) {
    throw new TypeError(`A background is one of ${Object.keys(BACKGROUNDS).join(", ")}, or #rrggbb.`);
  }
  return [...digits.slice(1).map((value) => parseInt(value, 16) / 255), 1];
}
