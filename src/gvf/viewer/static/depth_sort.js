// The order in which Gaussians are drawn: by depth along the camera's axis, the farthest first.

const BINS = 1 << 16;

/** Sorts Gaussians by 16-bit depth, in time linear in their number; done at once, so that no image has an old order. */
export class DepthSort {
  #depths = new Float64Array(0);
  #counts = new Uint32Array(BINS + 1);

  /** The indices of the last sort's Gaussians from back to front, Uint32Array; its end is not in use. */
  order = new Uint32Array(0);

  /** Make room for sequences of `count` Gaussians; `order` gets `capacity` entries. */
  resize(count, capacity = count) {
    this.#depths = new Float64Array(count);
    this.order = new Uint32Array(capacity);
  }

  /**
   * Sort by the depth of each mean, dropping Gaussians outside [near, far], and return how many are left.
   *
   * means: Float32Array [3 N]. view: rotation and translation, see viewTransform. Equal keys keep the order of their
   * indices from front to back, as in gvf's rasteriser.
   */
  sort(means, view, near, far) {
    const [a, b, c] = view.rotation.slice(6);
    const d = view.translation[2];
    const depths = this.#depths;
    const total = depths.length;
    let [lowest, highest, visible] = [Infinity, -Infinity, 0];
    for (let i = 0, j = 0; i < total; i += 1, j += 3) {
      const depth = a * means[j] + b * means[j + 1] + c * means[j + 2] + d;
      depths[i] = depth;
      if (depth >= near && depth <= far) {
        if (depth < lowest) lowest = depth;
        if (depth > highest) highest = depth;
        visible += 1;
      }
    }
    if (visible === 0) return 0;
    const scale = highest > lowest ? (BINS - 1) / (highest - lowest) : 0;
    const counts = this.#counts.fill(0);
    for (let i = 0; i < total; i += 1) {
      const depth = depths[i];
      if (depth >= lowest && depth <= highest) counts[((highest - depth) * scale) | 0] += 1;
    }
    for (let key = 0, end = 0; key < BINS; key += 1) {
      end += counts[key];
      counts[key] = end; // one past the last slot of this key
    }
    for (let i = 0; i < total; i += 1) {
      const depth = depths[i];
      if (depth >= lowest && depth <= highest) {
        const key = ((highest - depth) * scale) | 0;
        counts[key] -= 1;
        this.order[counts[key]] = i; // filled from the end: the lowest index is drawn last, that is in front
      }
    }
    return visible;
  }
}
