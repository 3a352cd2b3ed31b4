// Gaussians between two frames: every Gaussian keeps its identity over time, so its attributes can be mixed.

const ATTRIBUTES = ["means", "scales", "colors", "opacities"];

/**
 * Write the Gaussians `share` of the way from one frame to the next into `out` and return it; linear in every attribute,
 * quaternions on the shorter way (the renderer normalises them). out: null to allocate.
 */
export function interpolate(before, after, share, out) {
  const mixed = out ?? Object.fromEntries([...ATTRIBUTES, "quats"].map((name) => [name, before[name].slice()]));
  for (const name of ATTRIBUTES) {
    const [a, b, c] = [before[name], after[name], mixed[name]];
    for (let i = 0; i < c.length; i += 1) c[i] = a[i] + share * (b[i] - a[i]);
  }
  const [a, b, c] = [before.quats, after.quats, mixed.quats];
  for (let i = 0; i < c.length; i += 4) {
    const same = a[i] * b[i] + a[i + 1] * b[i + 1] + a[i + 2] * b[i + 2] + a[i + 3] * b[i + 3] >= 0;
    const weight = same ? share : -share;
    for (let j = i; j < i + 4; j += 1) c[j] = (1 - share) * a[j] + weight * b[j];
  }
  return mixed;
}
