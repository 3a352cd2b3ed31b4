// Pinhole cameras around an object, with the axes and angles of gvf.geometry.camera: world z up, camera x right, y down,
// z forward; azimuth 0 is the camera at (0, -radius, 0), and azimuth grows towards +x.

const RADIANS = Math.PI / 180;
const RADII = [0.05, 100];
const FIELDS_OF_VIEW = [1, 150];

/** The view without any other wish: a little from the right and above, at the distance of the model's own cameras. */
export const HOME = { azimuth: 20, elevation: 15, radius: 2, fov: 49.1, shift: [0, 0], target: [0, 0, 0] };

/**
 * Return a whole camera within its limits from what is given of one.
 *
 * azimuth, elevation, fov (of the image's shorter side): degrees. radius: object units, from the target. shift: where the
 * target appears minus the image's centre, in shares of its shorter side. target: the point looked at. Throws TypeError
 * for anything that is not a finite number.
 */
export function completeCamera(given, base = HOME) {
  const camera = { ...base, ...given };
  const numbers = [camera.azimuth, camera.elevation, camera.radius, camera.fov, camera.shift, camera.target].flat();
  if (numbers.length !== 9 || camera.shift.length !== 2 || !numbers.every((value) => Number.isFinite(value))) {
    throw new TypeError("A camera needs finite numbers: azimuth, elevation, radius, fov, shift [2], target [3].");
  }
  return {
    azimuth: ((((camera.azimuth + 180) % 360) + 360) % 360) - 180,
    elevation: clamp(camera.elevation, -90, 90),
    radius: clamp(camera.radius, ...RADII),
    fov: clamp(camera.fov, ...FIELDS_OF_VIEW),
    shift: [...camera.shift],
    target: [...camera.target],
  };
}

/** Return the camera's axes as rows of the world-to-camera rotation: right, down, forward. */
export function cameraAxes(camera) {
  const [a, e] = [camera.azimuth * RADIANS, camera.elevation * RADIANS];
  const right = [Math.cos(a), Math.sin(a), 0];
  const forward = [-Math.sin(a) * Math.cos(e), Math.cos(a) * Math.cos(e), -Math.sin(e)];
  return [right, cross(forward, right), forward];
}

/** Return rotation (9 numbers, row by row) and translation (3) from the world to the camera. */
export function viewTransform(camera) {
  const axes = cameraAxes(camera);
  const translation = axes.map((axis) => -dot(axis, camera.target));
  translation[2] += camera.radius;
  return { rotation: axes.flat(), translation };
}

/** Return focal length and principal point in pixels for an image whose shorter side has the camera's field of view. */
export function pixelIntrinsics(camera, width, height) {
  const side = Math.min(width, height);
  return {
    focal: (0.5 * side) / Math.tan((camera.fov / 2) * RADIANS),
    center: [width / 2 + camera.shift[0] * side, height / 2 + camera.shift[1] * side],
  };
}

/** Return the camera after a turn by degrees. */
export function orbited(camera, azimuth, elevation) {
  return completeCamera({ azimuth: camera.azimuth + azimuth, elevation: camera.elevation + elevation }, camera);
}

/** Return the camera moved sideways so that its target moves by (right, down), in shares of the image's shorter side. */
export function panned(camera, right, down) {
  const scale = 2 * Math.tan((camera.fov / 2) * RADIANS) * camera.radius;
  const [x, y] = cameraAxes(camera);
  const target = camera.target.map((value, i) => value - scale * (right * x[i] + down * y[i]));
  return completeCamera({ target }, camera);
}

/** Return the camera at `factor` times its distance. */
export function zoomed(camera, factor) {
  return completeCamera({ radius: camera.radius * factor }, camera);
}

/** Return the home camera, moved so that points (Float32Array [3 N]) beyond the usual unit box are in view. */
export function homeFor(means) {
  let reach = 0;
  for (let i = 0; i < means.length; i += 3) {
    reach = Math.max(reach, Math.hypot(means[i], means[i + 1], means[i + 2]));
  }
  return completeCamera({ radius: HOME.radius * Math.max(1, reach / Math.hypot(0.5, 0.5, 0.5)) });
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}
