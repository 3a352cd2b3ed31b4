// Draws Gaussians with WebGL2 as gvf's rasteriser does: EWA splatting, a low-pass filter in pixels of the image drawn,
// opacity compensation, depth order, compositing in display sRGB.

import { pixelIntrinsics, viewTransform } from "./camera.js";
import { DepthSort } from "./depth_sort.js";
import { RESOLVE_FRAGMENT, RESOLVE_VERTEX, ROW_BITS, SPLAT_FRAGMENT, SPLAT_VERTEX } from "./shaders.js";

const [NEAR, FAR] = [0.01, 100]; // camera z outside which a Gaussian is dropped
const JACOBIAN_MARGIN = 0.15; // of the image beyond its edges; the linearisation is worthless further out

const SOFTWARE = /swiftshader|llvmpipe|softpipe|basic render/i; // names of renderers on the CPU

/** What a browser without WebGL2 is told. */
export const NO_WEBGL2 =
  "The player needs WebGL 2, which this browser does not offer. Update the browser, or enable hardware acceleration in its settings.";

const TEXTURES = [
  { name: "means", channels: 3 },
  { name: "quats", channels: 4 },
  { name: "scales", channels: 3 },
  { name: "colors", channels: 3 },
  { name: "opacities", channels: 1 },
];

/** Renders one frame of Gaussians at a time into a canvas, or into pixels. */
export class SplatRenderer {
  #gl;
  #sorter = new DepthSort();
  #programs;
  #textures = {};
  #target = null;
  #gaussians = null;
  #sorted = ""; // what the order on the GPU belongs to

  /** canvas: where `draw` shows its images. Throws Error with a message for people when there is no WebGL 2. */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", {
      alpha: true,
      antialias: false,
      depth: false,
      powerPreference: "high-performance",
      premultipliedAlpha: true,
    });
    if (gl === null) throw new Error(NO_WEBGL2);
    this.#gl = gl;
    this.#programs = {
      splat: program(gl, SPLAT_VERTEX, SPLAT_FRAGMENT),
      resolve: program(gl, RESOLVE_VERTEX, RESOLVE_FRAGMENT),
    };
    this.format = targetFormat(gl);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.DITHER);
  }

  /** Seconds that the last sort took. */
  sortSeconds = 0;

  /** Make room for `count` Gaussians, drawn with this variance in pixels^2 and with or without compensation. */
  allocate(count, { lowPass, compensate }) {
    const gl = this.#gl;
    const rows = Math.max(1, Math.ceil(count / (1 << ROW_BITS)));
    if (rows > gl.getParameter(gl.MAX_TEXTURE_SIZE)) {
      throw new Error(`${count.toLocaleString("en")} Gaussians are more than this device can draw. Open the asset on a device with a larger GPU.`);
    }
    Object.assign(this, { count, rows, lowPass, compensate });
    this.#sorter.resize(count, rows << ROW_BITS);
    for (const { name, channels } of TEXTURES) {
      this.#textures[name] = texture(gl, FLOAT_FORMATS[channels](gl)[0], 1 << ROW_BITS, rows);
    }
    this.#textures.order = texture(gl, gl.R32UI, 1 << ROW_BITS, rows);
    const corners = new Uint32Array(count * 6);
    for (let i = 0; i < count; i += 1) corners.set([4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 2, 4 * i + 1, 4 * i + 3], 6 * i);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
  }

  /** Take the Gaussians of one moment: means, quats wxyz, scales, colors and opacities as Float32Arrays. */
  upload(gaussians) {
    const gl = this.#gl;
    for (const { name, channels } of TEXTURES) {
      const [, layout] = FLOAT_FORMATS[channels](gl);
      this.#write(this.#textures[name], gaussians[name], channels, layout, gl.FLOAT);
    }
    this.#gaussians = gaussians;
    this.#sorted = "";
  }

  /** Show the Gaussians from a camera in the canvas, over a colour [r, g, b, a] premultiplied by its alpha, 0 to 1. */
  draw(camera, background) {
    const gl = this.#gl;
    const [width, height] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    this.#splat(camera, width, height);
    this.#resolve(null, width, height, background);
  }

  /** Return the pixels of an image [height, width, 4], straight alpha, row by row from the top left: Uint8ClampedArray. */
  read(camera, width, height, background) {
    const gl = this.#gl;
    const limit = gl.getParameter(gl.MAX_TEXTURE_SIZE);
    if (![width, height].every((side) => Number.isInteger(side) && side >= 1 && side <= limit)) {
      throw new RangeError(`An image needs a width and a height from 1 to ${limit} pixels.`);
    }
    this.#splat(camera, width, height);
    const screen = target(gl, width, height, gl.RGBA8);
    this.#resolve(screen.framebuffer, width, height, background);
    const pixels = new Uint8ClampedArray(width * height * 4);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(pixels.buffer));
    release(gl, screen);
    return background[3] === 1 ? pixels : withoutPremultiplication(pixels);
  }

  #splat(camera, width, height) {
    const gl = this.#gl;
    if (this.#target === null || this.#target.width !== width || this.#target.height !== height) {
      if (this.#target !== null) release(gl, this.#target);
      this.#target = target(gl, width, height, this.format);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#target.framebuffer);
    gl.viewport(0, 0, width, height);
    gl.clearBufferfv(gl.COLOR, 0, [0, 0, 0, 0]);
    const view = viewTransform(camera);
    const visible = this.#order(view);
    const { use, uniforms } = this.#programs.splat;
    gl.useProgram(use);
    [...TEXTURES.map(({ name }) => name), "order"].forEach((name, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, this.#textures[name]);
      gl.uniform1i(uniforms[name], unit);
    });
    const { focal, center } = pixelIntrinsics(camera, width, height);
    const size = [width, height];
    const margins = size.map((side) => (JACOBIAN_MARGIN * side) / focal);
    gl.uniformMatrix3fv(uniforms.rotation, true, view.rotation);
    gl.uniform3fv(uniforms.translation, view.translation);
    gl.uniform2f(uniforms.focal, focal, focal);
    gl.uniform2fv(uniforms.center, center);
    gl.uniform2fv(uniforms.size, size);
    gl.uniform4fv(uniforms.limits, [
      ...center.map((value, i) => -value / focal - margins[i]),
      ...center.map((value, i) => (size[i] - value) / focal + margins[i]),
    ]);
    gl.uniform1f(uniforms.lowPass, this.lowPass);
    gl.uniform1i(uniforms.compensate, this.compensate ? 1 : 0);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    if (visible > 0) gl.drawElements(gl.TRIANGLES, visible * 6, gl.UNSIGNED_INT, 0);
    gl.disable(gl.BLEND);
  }

  #order(view) {
    const key = [...view.rotation, ...view.translation].join();
    if (key !== this.#sorted) {
      const start = performance.now();
      this.visible = this.#sorter.sort(this.#gaussians.means, view, NEAR, FAR);
      this.sortSeconds = (performance.now() - start) / 1000;
      const gl = this.#gl;
      this.#write(this.#textures.order, this.#sorter.order.subarray(0, this.visible), 1, gl.RED_INTEGER, gl.UNSIGNED_INT);
      this.#sorted = key;
    }
    return this.visible;
  }

  #resolve(framebuffer, width, height, background) {
    const gl = this.#gl;
    const { use, uniforms } = this.#programs.resolve;
    gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
    gl.viewport(0, 0, width, height);
    gl.useProgram(use);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.#target.texture);
    gl.uniform1i(uniforms.image, 0);
    gl.uniform4fv(uniforms.background, background);
    gl.uniform1i(uniforms.flip, framebuffer === null ? height : 0);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  /** Write values to the start of a texture: whole rows first, then what is left over. */
  #write(texture, values, channels, layout, type) {
    const gl = this.#gl;
    const width = 1 << ROW_BITS;
    const count = values.length / channels;
    const rows = count >> ROW_BITS;
    const rest = count - (rows << ROW_BITS);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 4);
    if (rows > 0) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, rows, layout, type, values, 0);
    if (rest > 0) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, rows, rest, 1, layout, type, values, (rows << ROW_BITS) * channels);
  }
}

const FLOAT_FORMATS = {
  1: (gl) => [gl.R32F, gl.RED],
  3: (gl) => [gl.RGB32F, gl.RGB],
  4: (gl) => [gl.RGBA32F, gl.RGBA],
};

/**
 * Return the format to blend in: 16-bit floats, 32-bit ones where software draws, which is twice as fast in them, and bytes
 * where the device blends no floats.
 */
function targetFormat(gl) {
  const floats = gl.getExtension("EXT_color_buffer_float") !== null;
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const device = names === null ? "" : gl.getParameter(names.UNMASKED_RENDERER_WEBGL);
  if (floats && SOFTWARE.test(device) && gl.getExtension("EXT_float_blend") !== null) return gl.RGBA32F;
  return floats || gl.getExtension("EXT_color_buffer_half_float") !== null ? gl.RGBA16F : gl.RGBA8;
}

function texture(gl, format, width, height) {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  return made;
}

function target(gl, width, height, format) {
  const made = texture(gl, format, width, height);
  const framebuffer = gl.createFramebuffer();
  gl.bindFramebuffer(gl.FRAMEBUFFER, framebuffer);
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, made, 0);
  return { texture: made, framebuffer, width, height };
}

function release(gl, { texture: image, framebuffer }) {
  gl.deleteFramebuffer(framebuffer);
  gl.deleteTexture(image);
}

function program(gl, vertex, fragment) {
  const use = gl.createProgram();
  for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
      throw new Error(`The player's shader does not compile on this device: ${gl.getShaderInfoLog(shader)}`);
    }
    gl.attachShader(use, shader);
  }
  gl.linkProgram(use);
  if (!gl.getProgramParameter(use, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`The player's shaders do not link on this device: ${gl.getProgramInfoLog(use)}`);
  }
  const uniforms = {};
  for (let i = 0; i < gl.getProgramParameter(use, gl.ACTIVE_UNIFORMS); i += 1) {
    const { name } = gl.getActiveUniform(use, i);
    uniforms[name] = gl.getUniformLocation(use, name);
  }
  return { use, uniforms };
}

function withoutPremultiplication(pixels) {
  for (let i = 0; i < pixels.length; i += 4) {
    const alpha = pixels[i + 3];
    for (let channel = 0; alpha > 0 && channel < 3; channel += 1) {
      pixels[i + channel] = (pixels[i + channel] * 255) / alpha;
    }
  }
  return pixels;
}
