// GLSL of the splat renderer. The formulas and cut-offs are those of gvf/rendering/cpu_projection.py and cpu_tiles.py.

/** Gaussians per row of the data textures, as a power of two. */
export const ROW_BITS = 11;

const HEADER = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp usampler2D;
`;

/**
 * Projects one Gaussian to the parallelogram around its ellipse of alpha = 1/255; four vertices for each Gaussian.
 *
 * With the covariance's Cholesky factor an ellipse is a circle sheared along x: with (dx, dy) from the mean to a pixel and
 * t = dx - slope dy, log2(alpha) is log2(opacity) + perT t^2 + perY dy^2, a sum in which nothing cancels for needles.
 */
export const SPLAT_VERTEX = `${HEADER}
uniform sampler2D means, quats, scales, colors, opacities;
uniform usampler2D order;
uniform mat3 rotation;
uniform vec3 translation;
uniform vec2 focal, center, size;
uniform vec4 limits; // of x/z and y/z in the Jacobian: low, low, high, high
uniform float lowPass;
uniform bool compensate;
flat out vec2 mean;
flat out vec4 shape;
flat out vec3 color;

const float LOG2E = 1.4426950408889634;
const float LOG2_255 = 7.994353436858858 + 2e-3; // with some slack, so that rounding never culls a visible pixel
const float MARGIN = 0.25; // pixels, for hardware that rounds corners to a fraction of a pixel

ivec2 texel(int index) {
  return ivec2(index & ${(1 << ROW_BITS) - 1}, index >> ${ROW_BITS});
}

mat3 rotationOf(vec4 wxyz) {
  vec4 q = normalize(wxyz);
  float w = q.x, x = q.y, y = q.z, z = q.w;
  return mat3(
    1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y),
    2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x),
    2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)
  );
}

void main() {
  gl_Position = vec4(2.0, 2.0, 0.0, 1.0); // outside the image, for Gaussians that do not show
  ivec2 at = texel(int(texelFetch(order, texel(gl_VertexID >> 2), 0).x));
  float opacity = texelFetch(opacities, at, 0).x;
  vec3 p = rotation * texelFetch(means, at, 0).xyz + translation;

  mat3 axes = rotation * rotationOf(texelFetch(quats, at, 0));
  vec3 scale = texelFetch(scales, at, 0).xyz;
  axes = mat3(axes[0] * scale.x, axes[1] * scale.y, axes[2] * scale.z);
  vec2 ray = clamp(p.xy / p.z, limits.xy, limits.zw);
  vec2 j = focal / p.z;
  vec3 m2 = vec3(axes[0].z, axes[1].z, axes[2].z);
  vec3 px = j.x * (vec3(axes[0].x, axes[1].x, axes[2].x) - ray.x * m2); // rows of P, the covariance is P P^T
  vec3 py = j.y * (vec3(axes[0].y, axes[1].y, axes[2].y) - ray.y * m2);
  float xx = dot(px, px), xy = dot(px, py), yy = dot(py, py);
  vec3 area = cross(px, py);
  float sharp = dot(area, area);
  float det = sharp + lowPass * (xx + yy) + lowPass * lowPass;
  xx += lowPass;
  yy += lowPass;
  if (compensate) opacity *= sqrt(sharp / det);
  if (!(det > 0.0 && opacity >= 1.0 / 255.0)) return;

  float logOpacity = log2(opacity);
  float reach = sqrt((logOpacity + LOG2_255) * 2.0 / LOG2E); // standard deviations
  float slope = xy / yy;
  mean = focal * p.xy / p.z + center;
  shape = vec4(slope, -0.5 * LOG2E * yy / det, -0.5 * LOG2E / yy, logOpacity);
  color = texelFetch(colors, at, 0).xyz;

  vec2 corner = vec2(ivec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1) * 2 - 1);
  vec2 offset = corner * (reach * sqrt(vec2(det / yy, yy)) + MARGIN);
  offset.x += slope * offset.y;
  gl_Position = vec4(2.0 * (mean + offset) / size - 1.0, 0.0, 1.0); // row 0 of the target is the image's top row
}`;

/** Composites one Gaussian over what lies behind it; colours premultiplied by alpha. */
export const SPLAT_FRAGMENT = `${HEADER}
flat in vec2 mean;
flat in vec4 shape;
flat in vec3 color;
out vec4 fragment;

const float LOG2_MIN_ALPHA = -7.994353436858858; // 1/255
const float MAX_ALPHA = 0.999;

void main() {
  vec2 d = gl_FragCoord.xy - mean;
  float t = d.x - shape.x * d.y;
  float power = shape.w + shape.y * t * t + shape.z * d.y * d.y;
  if (power < LOG2_MIN_ALPHA) discard;
  float alpha = min(exp2(power), MAX_ALPHA);
  fragment = vec4(color * alpha, alpha);
}`;

/** Covers the whole target with one triangle. */
export const RESOLVE_VERTEX = `${HEADER}
void main() {
  gl_Position = vec4(vec2((gl_VertexID << 1) & 2, gl_VertexID & 2) * 2.0 - 1.0, 0.0, 1.0);
}`;

/** Shows the target over a colour (alpha 1) or over nothing (alpha 0, premultiplied); `flip` turns row 0 to the top. */
export const RESOLVE_FRAGMENT = `${HEADER}
uniform sampler2D image;
uniform vec4 background;
uniform int flip; // height, or 0
out vec4 fragment;

void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  if (flip > 0) at.y = flip - 1 - at.y;
  vec4 value = texelFetch(image, at, 0);
  fragment = clamp(value + (1.0 - value.a) * background, 0.0, 1.0);
}`;
