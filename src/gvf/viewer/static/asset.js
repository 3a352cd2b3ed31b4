/**
 * Decoder of asset.glb: frame 0 from KHR_gaussian_splatting, later frames from GVF_gaussian_sequence
 * (docs/asset-format.md). No dependencies; runs in browsers and in node 20.
 *
 *     const asset = await decodeAsset(arrayBuffer);
 *     const { means, quats, scales, colors, opacities } = asset.frame(0);
 *
 * Frames are in z-up axes: means 3N; quats 4N, unit, wxyz; scales 3N; colors 3N, display sRGB, at least 0; opacities N.
 */

const SPLATTING = "KHR_gaussian_splatting";
const SEQUENCE = "GVF_gaussian_sequence";
const VERSION = 1;
const MAX_SEGMENT = 16;
const MAX_GAUSSIANS = 2 ** 22;
const MAX_FRAMES = 10_000;
const CHANNELS = ["position", "position", "position", "rotation", "rotation", "rotation", "rotation",
  "scale", "scale", "scale", "color", "color", "color", "opacity"];
const WIDTHS = [0, 2, 4, 8, 16, 24, 32];
const HAAR = 8;
const MORTON_CELLS = 1024;
const SMALLEST_SCALE = 1e-9;
const SH_C0 = 0.28209479177387814;
const HALF = Math.sqrt(0.5);

/**
 * Read an asset.glb. Resolves when frame 0 can be shown; the other frames are unpacked in the background.
 * Rejects with an Error whose message says what is wrong with the file.
 * cacheBytes: memory for unpacked segments; those used last are kept, at least two.
 */
export async function decodeAsset(buffer, { cacheBytes = 256 * 2 ** 20 } = {}) {
  const { document, binary } = readContainer(buffer);
  const { attributes, sequence } = findSequence(document);
  if (sequence.version !== VERSION) fail(`version ${sequence.version} of ${SEQUENCE} is not read here`);
  const reader = new BufferReader(document, binary);
  const first = readFirstFrame(reader, attributes);
  const { frames, framesPerSecond, lowPass, compensate = true, facts = {}, steps, order } = sequence;
  whole(frames, 1, MAX_FRAMES, "frames");
  check(framesPerSecond > 0 && Number.isFinite(framesPerSecond), "framesPerSecond is not a positive number");
  check(lowPass >= 0 && Number.isFinite(lowPass), "lowPass is not a number of at least 0");
  check(typeof compensate === "boolean", "compensate is neither true nor false");
  check(facts !== null && typeof facts === "object" && !Array.isArray(facts), "facts is not an object");
  check(order === "stored" || order === "morton", `the order ${order} is unknown`);
  for (const name of CHANNELS) check(steps?.[name] > 0 && Number.isFinite(steps[name]), `the step of ${name} is not positive`);
  const segments = readSegments(reader, sequence.segments, frames, first.count);
  return new Asset(first, { frames, framesPerSecond, lowPass, compensate, facts, steps, order, cacheBytes }, segments);
}

class Asset {
  #first;
  #steps;
  #segments;
  #order;
  #scratch;
  #cacheBytes;
  #used = 0; // a clock for the cache

  constructor(first, header, segments) {
    this.numGaussians = first.count;
    this.numFrames = header.frames;
    this.framesPerSecond = header.framesPerSecond;
    this.lowPass = header.lowPass;
    this.compensate = header.compensate;
    this.facts = header.facts;
    this.#first = first;
    this.#steps = header.steps;
    this.#cacheBytes = header.cacheBytes;
    this.#segments = segments;
    this.#order = header.order === "morton" && segments.length ? mortonOrder(first.means, first.count) : null;
    this.#scratch = new Float64Array(4 * first.count);
    this.unpacked = this.#unpackAll();
    this.unpacked.catch(() => {}); // whoever awaits it, or loads a frame, gets the error
  }

  /** Return frame t, or null while its segment is being unpacked. target: a frame whose arrays are filled again. */
  frame(t, target = this.#emptyFrame()) {
    whole(t, 0, this.numFrames - 1, "the frame");
    if (t === 0) return this.#fillFirst(target);
    const segment = this.#segmentOf(t);
    if (segment.error) throw segment.error;
    if (!segment.planes) {
      this.#unpack(segment).catch(() => {});
      return null;
    }
    segment.used = ++this.#used;
    this.#unpack(this.#segments[(segment.index + 1) % this.#segments.length]).catch(() => {}); // what is played next
    return this.#fill(segment, t - segment.start, target);
  }

  /** Resolve to frame t, unpacking its segment first where that is needed. */
  async load(t, target) {
    whole(t, 0, this.numFrames - 1, "the frame");
    if (t === 0) return this.frame(t, target);
    const segment = this.#segmentOf(t);
    await this.#unpack(segment);
    return this.frame(t, target) ?? this.load(t, target);
  }

  #segmentOf(t) {
    return this.#segments.find((segment) => t < segment.start + segment.frames);
  }

  async #unpackAll() {
    let bytes = 0;
    for (const segment of this.#segments) {
      if (bytes > this.#cacheBytes) return;
      await this.#unpack(segment);
      bytes += segment.bytes;
    }
  }

  #unpack(segment) {
    segment.used = ++this.#used;
    if (segment.planes) return Promise.resolve();
    segment.pending ??= unpackSegment(segment, this.numGaussians, this.#order)
      .then((planes) => {
        segment.planes = planes;
        segment.bytes = planes.reduce((sum, plane) => sum + (plane?.byteLength ?? 0), 0);
        this.#evict(segment);
      })
      .catch((error) => {
        segment.error = error;
        throw error;
      })
      .finally(() => {
        segment.pending = null;
      });
    return segment.pending;
  }

  #evict(kept) {
    const held = this.#segments.filter((segment) => segment.planes).sort((a, b) => a.used - b.used);
    let bytes = held.reduce((sum, segment) => sum + segment.bytes, 0);
    let count = held.length;
    for (const segment of held) {
      if (bytes <= this.#cacheBytes || count <= 2) return;
      if (segment === kept) continue;
      segment.planes = null;
      bytes -= segment.bytes;
      count -= 1;
    }
  }

  #emptyFrame() {
    const n = this.numGaussians;
    return {
      means: new Float32Array(3 * n),
      quats: new Float32Array(4 * n),
      scales: new Float32Array(3 * n),
      colors: new Float32Array(3 * n),
      opacities: new Float32Array(n),
    };
  }

  #fillFirst(target) {
    const { count, means, quats, scales, opacities, colors } = this.#first;
    for (let i = 0; i < count; i++) {
      writePoint(target.means, i, means[3 * i], means[3 * i + 1], means[3 * i + 2]);
      writeQuat(target.quats, i, quats[4 * i + 3], quats[4 * i], quats[4 * i + 1], quats[4 * i + 2]);
    }
    target.scales.set(scales);
    target.opacities.set(opacities);
    for (let i = 0; i < 3 * count; i++) target.colors[i] = Math.max(0, SH_C0 * colors[i] + 0.5);
    return target;
  }

  #fill(segment, time, target) {
    const n = this.numGaussians;
    const { means, quats, scales, opacities, colors } = this.#first;
    const parts = [0, 1, 2, 3].map((index) => this.#scratch.subarray(index * n, (index + 1) * n));
    const [a, b, c, d] = parts;
    const change = (channel, into) => this.#change(segment, channel, time, into);

    [a, b, c].forEach((part, axis) => change(axis, part));
    addPoints(target.means, means, a, b, c);
    parts.forEach((part, axis) => change(3 + axis, part));
    turnQuats(target.quats, quats, a, b, c, d);
    for (let axis = 0; axis < 3; axis++) multiplyScales(target.scales, scales, axis, change(7 + axis, a) ? a : null);
    for (let axis = 0; axis < 3; axis++) {
      change(10 + axis, a);
      for (let i = 0, j = axis; i < n; i++, j += 3) target.colors[j] = Math.max(0, SH_C0 * colors[j] + a[i] + 0.5);
    }
    change(13, a);
    for (let i = 0; i < n; i++) target.opacities[i] = Math.min(1, Math.max(0, opacities[i] + a[i]));
    return target;
  }

  /** Write one channel's change since frame 0 at a time of a segment into `into`; return whether there is any. */
  #change(segment, channel, time, into) {
    const step = this.#steps[CHANNELS[channel]];
    const some = [], factors = [];
    into.fill(0);
    for (let k = 0; k < segment.frames; k++) {
      const plane = segment.planes[channel * segment.frames + k];
      if (!plane) continue;
      some.push(plane);
      factors.push(cosine(k, time, segment.frames) * step);
    }
    for (let k = 0; k < some.length; k += 2)
      if (k + 1 < some.length) addTwo(into, some[k], factors[k], some[k + 1], factors[k + 1]);
      else addOne(into, some[k], factors[k]);
    return some.length > 0;
  }
}

/** Entry of the orthonormal DCT-II matrix: coefficient k, time t. */
function cosine(k, t, length) {
  return k === 0 ? Math.sqrt(1 / length) : Math.sqrt(2 / length) * Math.cos((Math.PI * (2 * t + 1) * k) / (2 * length));
}

function addOne(into, plane, factor) {
  for (let i = 0; i < into.length; i++) into[i] += factor * plane[i];
}

function addTwo(into, plane, factor, other, otherFactor) {
  for (let i = 0; i < into.length; i++) into[i] += factor * plane[i] + otherFactor * other[i];
}

function addPoints(into, points, x, y, z) {
  for (let i = 0; i < x.length; i++) writePoint(into, i, points[3 * i] + x[i], points[3 * i + 1] + y[i], points[3 * i + 2] + z[i]);
}

/** Write the products of turns (1 + a, b, c, d), wxyz, and rotations, xyzw. */
function turnQuats(into, rotations, a, b, c, d) {
  for (let i = 0; i < a.length; i++) {
    const w = 1 + a[i], x = b[i], y = c[i], z = d[i];
    const fx = rotations[4 * i], fy = rotations[4 * i + 1], fz = rotations[4 * i + 2], fw = rotations[4 * i + 3];
    writeQuat(into, i,
      w * fw - x * fx - y * fy - z * fz,
      w * fx + x * fw + y * fz - z * fy,
      w * fy - x * fz + y * fw + z * fx,
      w * fz + x * fy - y * fx + z * fw);
  }
}

/** Write the scales of one axis, multiplied by the exponentials of changes; null where nothing changes. */
function multiplyScales(into, scales, axis, changes) {
  for (let i = 0, j = axis; j < scales.length; i++, j += 3) {
    const scale = Math.max(scales[j], SMALLEST_SCALE);
    into[j] = changes ? scale * Math.exp(changes[i]) : scale;
  }
}

/** Store a point of glTF's axes (y up) in ours (z up). */
function writePoint(target, i, x, y, z) {
  target[3 * i] = x;
  target[3 * i + 1] = -z;
  target[3 * i + 2] = y;
}

/** Store a rotation of glTF's axes in ours, of length 1. */
function writeQuat(target, i, w, x, y, z) {
  const length = Math.sqrt(w * w + x * x + y * y + z * z) || 1;
  const factor = HALF / length;
  target[4 * i] = factor * (w - x);
  target[4 * i + 1] = factor * (x + w);
  target[4 * i + 2] = factor * (y - z);
  target[4 * i + 3] = factor * (z + y);
}

// ---- segments ----

function readSegments(reader, items, frames, count) {
  check(Array.isArray(items), "segments are missing");
  let start = 1;
  const segments = items.map((item, index) => {
    whole(item?.frames, 1, MAX_SEGMENT, `segments[${index}].frames`);
    whole(item.inflated, 1, CHANNELS.length * item.frames * (1 + 4 * count), `segments[${index}].inflated`);
    const segment = { index, start, frames: item.frames, inflated: item.inflated, data: reader.view(item.bufferView),
      planes: null, pending: null, error: null, bytes: 0, used: 0 };
    start += item.frames;
    return segment;
  });
  check(start === frames, `the segments end at frame ${start - 1}, but the last frame is ${frames - 1}`);
  return segments;
}

/** Resolve to the planes of a segment in the order of the Gaussians; null for a plane of zeros. */
async function unpackSegment(segment, count, order) {
  const where = `segments[${segment.index}]`;
  const stream = await inflate(segment.data, segment.inflated, where);
  const numPlanes = CHANNELS.length * segment.frames;
  check(stream.length >= numPlanes, `${where} is too short`);
  const planes = [];
  let position = numPlanes;
  for (let index = 0; index < numPlanes; index++) {
    const mode = stream[index];
    const width = WIDTHS[mode & 7];
    check(width !== undefined && mode <= 14 && mode !== HAAR, `${where}: plane ${index} has the unknown mode ${mode}`);
    const size = Math.ceil((count * width) / 8);
    check(position + size <= stream.length, `${where} is too short for plane ${index}`);
    planes.push(width ? readPlane(stream.subarray(position, position + size), width, mode & HAAR, count, order) : null);
    position += size;
  }
  check(position === stream.length, `${where} has ${stream.length} bytes, but its planes have ${position}`);
  return planes;
}

/** Inflate zlib data to exactly `size` bytes; stops as soon as there are more. */
async function inflate(data, size, where) {
  const stream = new Uint8Array(size);
  let length = 0;
  try {
    const reader = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (length + value.length > size) {
        reader.cancel().catch(() => {});
        length = Infinity;
        break;
      }
      stream.set(value, length);
      length += value.length;
    }
  } catch (error) {
    fail(`${where} is not valid zlib data (${error.message})`);
  }
  check(length === size, `${where} does not inflate to the ${size} bytes that are announced`);
  return stream;
}

function readPlane(bytes, width, isHaar, count, order) {
  const values = widen(bytes, width, count);
  const coefficients = isHaar ? inverseHaar(values) : values;
  let largest = 0;
  for (let i = 0; i < count; i++) largest = Math.max(largest, Math.abs(coefficients[i]));
  const plane = largest < 2 ** 15 ? new Int16Array(count) : new Int32Array(count);
  if (order) for (let i = 0; i < count; i++) plane[order[i]] = coefficients[i];
  else plane.set(coefficients);
  return plane;
}

/** Return signed integers from zigzag values: several in a byte below 8 bits, planes of bytes above. */
function widen(bytes, width, count) {
  const values = new Int32Array(count);
  if (width < 8) {
    const each = 8 / width, mask = (1 << width) - 1;
    for (let i = 0; i < count; i++) values[i] = (bytes[Math.floor(i / each)] >> (width * (i % each))) & mask;
  } else {
    for (let shift = 0, start = 0; shift < width; shift += 8, start += count)
      for (let i = 0; i < count; i++) values[i] |= bytes[start + i] << shift;
  }
  for (let i = 0; i < count; i++) values[i] = (values[i] >>> 1) ^ -(values[i] & 1);
  return values;
}

/** Invert the integer Haar wavelet transform; bands lie from the coarsest to the finest. */
function inverseHaar(coefficients) {
  const lengths = [coefficients.length];
  while (lengths.at(-1) > 1) lengths.push(Math.ceil(lengths.at(-1) / 2));
  let values = coefficients.slice(0, 1);
  for (let level = lengths.length - 2; level >= 0; level--) {
    const merged = new Int32Array(lengths[level]);
    const pairs = lengths[level] >> 1, start = values.length;
    for (let i = 0; i < pairs; i++) {
      const difference = coefficients[start + i];
      merged[2 * i] = values[i] - (difference >> 1);
      merged[2 * i + 1] = merged[2 * i] + difference;
    }
    if (values.length > pairs) merged[2 * pairs] = values[pairs];
    values = merged;
  }
  return values;
}

/** Return the order of points along a Morton curve of 1024^3 cells; points of one cell keep their order. */
function mortonOrder(means, count) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (let i = 0; i < 3 * count; i++) {
    low[i % 3] = Math.min(low[i % 3], means[i]);
    high[i % 3] = Math.max(high[i % 3], means[i]);
  }
  const side = Math.max(high[0] - low[0], high[1] - low[1], high[2] - low[2]);
  const keys = new Float64Array(count); // code * count + index, exact below 2^53
  for (let i = 0; i < count; i++) {
    let code = 0;
    for (let axis = 0; side > 0 && axis < 3; axis++) {
      const cell = Math.min(Math.floor((means[3 * i + axis] - low[axis]) * (MORTON_CELLS / side)), MORTON_CELLS - 1);
      for (let bit = 0; bit < 10; bit++) code |= ((cell >> bit) & 1) << (3 * bit + axis);
    }
    keys[i] = code * count + i;
  }
  return Uint32Array.from(keys.sort(), (key) => key % count);
}

// ---- the GLB container ----

function readContainer(buffer) {
  const view = new DataView(buffer);
  check(buffer.byteLength >= 20 && view.getUint32(0, true) === 0x46546c67, "this is not a GLB file");
  check(view.getUint32(4, true) === 2, "this is not a GLB file of version 2");
  check(view.getUint32(8, true) <= buffer.byteLength, "the file is cut short");
  const chunks = {};
  for (let position = 12; position + 8 <= view.getUint32(8, true); ) {
    const length = view.getUint32(position, true), kind = view.getUint32(position + 4, true);
    check(position + 8 + length <= buffer.byteLength, "a chunk reaches beyond the end of the file");
    chunks[kind] ??= new Uint8Array(buffer, position + 8, length);
    position += 8 + length;
  }
  check(chunks[0x4e4f534a], "the file has no JSON chunk");
  let document;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(chunks[0x4e4f534a]));
  } catch (error) {
    fail(`its JSON cannot be read (${error.message})`);
  }
  check(document !== null && typeof document === "object", "its JSON is not an object");
  return { document, binary: chunks[0x004e4942] ?? new Uint8Array(0) };
}

function findSequence(document) {
  for (const mesh of list(document.meshes))
    for (const primitive of list(mesh?.primitives)) {
      const sequence = primitive?.extensions?.[SPLATTING]?.extensions?.[SEQUENCE];
      if (sequence) return { attributes: primitive.attributes ?? {}, sequence };
    }
  return fail(`the file holds no ${SEQUENCE}`);
}

class BufferReader {
  constructor(document, binary) {
    this.accessors = list(document.accessors);
    this.views = list(document.bufferViews);
    this.binary = binary;
  }

  /** Return the bytes of a buffer view in the binary chunk. */
  view(index) {
    const view = this.views[index];
    check(Number.isInteger(index) && view, `bufferViews[${index}] is missing`);
    const offset = view.byteOffset ?? 0;
    check((view.buffer ?? 0) === 0 && view.byteStride === undefined, `bufferViews[${index}] is not a plain part of the binary chunk`);
    whole(offset, 0, this.binary.length, `bufferViews[${index}].byteOffset`);
    whole(view.byteLength, 1, this.binary.length - offset, `bufferViews[${index}].byteLength`);
    return this.binary.subarray(offset, offset + view.byteLength);
  }

  /** Return float32 values of an accessor, checked to be finite. */
  floats(index, type, width, name) {
    const accessor = this.accessors[index];
    check(Number.isInteger(index) && accessor, `the accessor of ${name} is missing`);
    check(accessor.componentType === 5126 && accessor.type === type && !accessor.sparse, `${name} must be plain float ${type}`);
    const bytes = this.view(accessor.bufferView);
    const offset = accessor.byteOffset ?? 0;
    whole(accessor.count, 1, MAX_GAUSSIANS, `the count of ${name}`);
    whole(offset, 0, bytes.length - 4 * width * accessor.count, `the byteOffset of ${name}`);
    const values = new Float32Array(bytes.slice(offset, offset + 4 * width * accessor.count).buffer);
    check(values.every(Number.isFinite), `${name} has a value that is not finite`);
    return values;
  }
}

function readFirstFrame(reader, attributes) {
  const read = (name, type, width) => reader.floats(attributes[name], type, width, name);
  const first = {
    means: read("POSITION", "VEC3", 3),
    quats: read(`${SPLATTING}:ROTATION`, "VEC4", 4),
    scales: read(`${SPLATTING}:SCALE`, "VEC3", 3),
    opacities: read(`${SPLATTING}:OPACITY`, "SCALAR", 1),
    colors: read(`${SPLATTING}:SH_DEGREE_0_COEF_0`, "VEC3", 3),
  };
  first.count = first.opacities.length;
  for (const [name, width] of [["means", 3], ["quats", 4], ["scales", 3], ["colors", 3]])
    check(first[name].length === width * first.count, "the attributes of frame 0 have different counts");
  check(first.scales.every((scale) => scale >= 0), "a scale is negative");
  check(first.opacities.every((opacity) => opacity >= 0 && opacity <= 1), "an opacity is outside [0, 1]");
  return first;
}

// ---- checks ----

function list(value) {
  return Array.isArray(value) ? value : [];
}

function whole(value, low, high, name) {
  check(Number.isInteger(value) && value >= low && value <= high, `${name} is ${value}, but must be a whole number from ${low} to ${high}`);
}

function check(condition, message) {
  if (!condition) fail(message);
}

function fail(message) {
  throw new Error(`asset.glb: ${message}.`);
}
