"""Gaussians to image-space ellipses and back: the EWA projection of 3DGS as gsplat computes it, with gradients.

Each Gaussian seen by a camera becomes one record of sixteen float32, a cache line:

    0, 1   mean in pixels                      10  squared half chord at the mean's row
    2      log2(alpha) per t^2                 11  how fast that shrinks with y^2
    3      slope: x of the chord's centre per y  12  half height
    4      log2(alpha) per y^2                 13  y of the rightmost point
    5      log2 of the opacity                 14  half width
    6      depth along the camera's z          15  nothing
    7-9    colour

With (dx, dy) the way from the mean to a pixel and t = dx - slope dy, log2(alpha) is [5] + [2] t^2 + [4] dy^2: the
quadratic form by its Cholesky factor, a sum of two squares in which nothing cancels, whereas the usual a dx^2 + b dx dy +
c dy^2 loses a needle of some hundred pixels to rounding. The ellipse is where alpha = 1/255: outside it nothing is
drawn, so its extent is the exact reach of the Gaussian; a chord is its cut through one row. Arithmetic is float64
inside, so thin and huge Gaussians lose nothing before the records are rounded.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from gvf.compiled.kernels import helper, kernel
from gvf.compiled.simd import take_next

RECORD = 16  # float32 values per projected Gaussian
TILE = 32  # pixels per side
CAMERA = 20  # float64 values per camera, see `pack_cameras`
MIN_ALPHA = 1.0 / 255.0
_LOG2E = 1.0 / math.log(2.0)
_LOG2_255 = math.log2(255.0) + 2e-3  # with some slack, so that rounding never culls a visible pixel


def pack_cameras(viewmats: np.ndarray, Ks: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return cameras as rows: rotation (9), translation (3), fx, fy, cx, cy in pixels, limits of the Jacobian's x/z, y/z (4).

    viewmats: [I, 4, 4] world to camera; Ks: [I, 3, 3] normalised. Returns [I, 20] float64. The limits are gsplat's:
    30% of the half field of view beyond the image's edges (the linearisation is worthless further out).
    """
    cameras = np.empty((len(viewmats), CAMERA))
    cameras[:, :9] = viewmats[:, :3, :3].reshape(-1, 9)
    cameras[:, 9:12] = viewmats[:, :3, 3]
    for axis, size in ((0, width), (1, height)):
        focal = Ks[:, axis, axis].astype(np.float64) * size
        centre = Ks[:, axis, 2].astype(np.float64) * size
        margin = 0.15 * size / focal
        cameras[:, 12 + axis] = focal
        cameras[:, 14 + axis] = centre
        cameras[:, 16 + 2 * axis] = -centre / focal - margin
        cameras[:, 17 + 2 * axis] = (size - centre) / focal + margin
    return cameras


@helper
def rotation(quats, b, g):
    """Return the nine entries, row by row, of the rotation of quaternion [b, g] after normalisation, and 1 / its length."""
    w, x, y, z = (
        np.float64(quats[b, g, 0]),
        np.float64(quats[b, g, 1]),
        np.float64(quats[b, g, 2]),
        np.float64(quats[b, g, 3]),
    )
    inverse = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
    w *= inverse
    x *= inverse
    y *= inverse
    z *= inverse
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        (w, x, y, z, inverse),
    )


@helper
def camera_axes(camera, r0, r1, r2, s0, s1, s2):
    """Return the rows of (view rotation) R diag(s): the Gaussian's scaled axes in camera space, and without the scales."""
    a0 = camera[0] * r0[0] + camera[1] * r1[0] + camera[2] * r2[0]
    a1 = camera[0] * r0[1] + camera[1] * r1[1] + camera[2] * r2[1]
    a2 = camera[0] * r0[2] + camera[1] * r1[2] + camera[2] * r2[2]
    b0 = camera[3] * r0[0] + camera[4] * r1[0] + camera[5] * r2[0]
    b1 = camera[3] * r0[1] + camera[4] * r1[1] + camera[5] * r2[1]
    b2 = camera[3] * r0[2] + camera[4] * r1[2] + camera[5] * r2[2]
    c0 = camera[6] * r0[0] + camera[7] * r1[0] + camera[8] * r2[0]
    c1 = camera[6] * r0[1] + camera[7] * r1[1] + camera[8] * r2[1]
    c2 = camera[6] * r0[2] + camera[7] * r1[2] + camera[8] * r2[2]
    return (
        (a0 * s0, a1 * s1, a2 * s2),
        (b0 * s0, b1 * s1, b2 * s2),
        (c0 * s0, c1 * s1, c2 * s2),
        (a0, a1, a2),
        (b0, b1, b2),
        (c0, c1, c2),
    )


@helper
def image_axes(camera, x, y, z, m0, m1, m2):
    """Return the rows of the 2x3 P whose P P^T is the projected covariance, the Jacobian, and whether x and y were inside it."""
    inverse = 1.0 / z
    u, v = x * inverse, y * inverse
    tu = min(max(u, camera[16]), camera[17])
    tv = min(max(v, camera[18]), camera[19])
    j00 = camera[12] * inverse
    j11 = camera[13] * inverse
    j02 = -j00 * tu
    j12 = -j11 * tv
    p0 = (j00 * m0[0] + j02 * m2[0], j00 * m0[1] + j02 * m2[1], j00 * m0[2] + j02 * m2[2])
    p1 = (j11 * m1[0] + j12 * m2[0], j11 * m1[1] + j12 * m2[1], j11 * m1[2] + j12 * m2[2])
    return p0, p1, (j00, j11, j02, j12), tu == u, tv == v


@helper
def determinant(p0, p1):
    """Return det(P P^T) as a sum of squares: no cancellation for needles."""
    c0 = p0[1] * p1[2] - p0[2] * p1[1]
    c1 = p0[2] * p1[0] - p0[0] * p1[2]
    c2 = p0[0] * p1[1] - p0[1] * p1[0]
    return c0 * c0 + c1 * c1 + c2 * c2


@helper
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@helper
def chord(records, at, top, bottom):
    """Return the leftmost and rightmost x of record `at`'s ellipse between two rows; (1, 0) where it does not reach them."""
    my = records[at + 1]
    half_height = records[at + 12]
    low = max(top - my, -half_height)
    high = min(bottom - my, half_height)
    if low > high:
        return np.float32(1), np.float32(0)
    tip = records[at + 13]
    right = min(max(tip, low), high)
    left = min(max(-tip, low), high)
    slope = records[at + 3]
    square = records[at + 10]
    shrink = records[at + 11]
    zero = np.float32(0)
    mx = records[at]
    return (
        mx + slope * left - math.sqrt(max(zero, square - shrink * left * left)),
        mx + slope * right + math.sqrt(max(zero, square - shrink * right * right)),
    )


@helper
def cells(low, high, size, count):
    """Return the first and last (exclusive) of `count` cells of `size` pixels with a pixel centre between two coordinates."""
    start = (low + np.float32(0.5)) / size
    end = (high - np.float32(0.5)) / size + np.float32(1)
    first = np.int64(start) if np.float32(0) < start < count else (0 if start < count else count)
    last = np.int64(end) if np.float32(0) < end < count else (0 if end < count else count)
    return first, last


@helper
def num_cells(length, size):
    """Return the number of cells of `size` pixels that cover `length` pixels."""
    return (length + size - 1) // size


@helper
def tile_box(records, at, tiles_x, tiles_y):
    """Return the first and last (exclusive) column and row of the tiles that the box of record `at` reaches."""
    mx, my, half_height, half_width = records[at], records[at + 1], records[at + 12], records[at + 14]
    first_x, last_x = cells(mx - half_width, mx + half_width, np.float32(TILE), tiles_x)
    first_y, last_y = cells(my - half_height, my + half_height, np.float32(TILE), tiles_y)
    return first_x, last_x, first_y, last_y


@helper
def tile_span(records, at, ty, box, tiles_x):
    """Return the first and last (exclusive) tile of row `ty` that the ellipse of record `at`, with this `tile_box`, reaches."""
    first, last, first_y, last_y = box
    if last - first > 1 and last_y - first_y > 1:
        top = np.float32(ty * TILE) + np.float32(0.5)
        left, right = chord(records, at, top, top + np.float32(TILE - 1))
        first, last = cells(left, right, np.float32(TILE), tiles_x)
    return first, last


@kernel
def project(
    counter, means, quats, scales, opacities, colors, cameras, width, height, near, far, low_pass, compensate,
    chunk, records, num_tiles, counts, faults,
):  # fmt: skip
    """Fill `records` [I, N * RECORD] and `num_tiles` [I, N]; count the entries of each tile in `counts`.

    An item is a chunk of `chunk` Gaussians in one image; `counts` is [I, chunks, tiles]. faults: [I, chunks], bit 0
    means, 1 quats, 2 scales, 3 opacities, 4 colors not finite; bit 5 quaternion of length zero.
    """
    num_images, num_gaussians = num_tiles.shape
    cameras_each = num_images // means.shape[0]
    chunks = counts.shape[1]
    tiles_x, tiles_y = num_cells(width, TILE), num_cells(height, TILE)
    while True:
        item = take_next(counter)
        if item >= num_images * chunks:
            return
        i = item // chunks
        piece = item % chunks
        b = i // cameras_each
        camera = cameras[i]
        row = records[i]
        for g in range(piece * chunk, min((piece + 1) * chunk, num_gaussians)):
            num_tiles[i, g] = 0
            mx, my, mz = np.float64(means[b, g, 0]), np.float64(means[b, g, 1]), np.float64(means[b, g, 2])
            s0, s1, s2 = np.float64(scales[b, g, 0]), np.float64(scales[b, g, 1]), np.float64(scales[b, g, 2])
            q0, q1, q2, q3 = quats[b, g, 0], quats[b, g, 1], quats[b, g, 2], quats[b, g, 3]
            opacity = np.float64(opacities[b, g])
            red, green, blue = colors[b, g, 0], colors[b, g, 1], colors[b, g, 2]
            length = abs(q0) + abs(q1) + abs(q2) + abs(q3)
            if not math.isfinite(mx + my + mz + s0 + s1 + s2 + length + opacity + red + green + blue) or length == 0:
                faults[i, piece] |= (
                    (not math.isfinite(mx + my + mz))
                    | (not math.isfinite(length)) << 1
                    | (not math.isfinite(s0 + s1 + s2)) << 2
                    | (not math.isfinite(opacity)) << 3
                    | (not math.isfinite(red + green + blue)) << 4
                    | (length == 0) << 5
                )
                continue
            z = camera[6] * mx + camera[7] * my + camera[8] * mz + camera[11]
            if not near <= z <= far or opacity < MIN_ALPHA:
                continue
            x = camera[0] * mx + camera[1] * my + camera[2] * mz + camera[9]
            y = camera[3] * mx + camera[4] * my + camera[5] * mz + camera[10]
            r0, r1, r2, _ = rotation(quats, b, g)
            m0, m1, m2, _, _, _ = camera_axes(camera, r0, r1, r2, s0, s1, s2)
            p0, p1, jacobian, _, _ = image_axes(camera, x, y, z, m0, m1, m2)
            xx, xy, yy = dot(p0, p0), dot(p0, p1), dot(p1, p1)
            sharp = determinant(p0, p1)
            det = sharp + low_pass * (xx + yy) + low_pass * low_pass
            xx += low_pass
            yy += low_pass
            if not 0 < det < math.inf:
                continue
            if compensate:
                opacity *= math.sqrt(sharp / det)
                if opacity < MIN_ALPHA:
                    continue
            log_opacity = math.log2(opacity)
            level = (log_opacity + _LOG2_255) * (2.0 / _LOG2E)
            at = g * RECORD
            row[at] = jacobian[0] * x + camera[14]
            row[at + 1] = jacobian[1] * y + camera[15]
            inverse_yy = 1.0 / yy
            row[at + 2] = -0.5 * _LOG2E * yy / det
            row[at + 3] = xy * inverse_yy
            row[at + 4] = -0.5 * _LOG2E * inverse_yy
            row[at + 5] = log_opacity
            row[at + 6] = z
            row[at + 7] = red
            row[at + 8] = green
            row[at + 9] = blue
            half_width = math.sqrt(level * xx)
            row[at + 10] = level * det * inverse_yy
            row[at + 11] = det * inverse_yy * inverse_yy
            row[at + 12] = math.sqrt(level * yy)
            row[at + 13] = half_width * xy / xx
            row[at + 14] = half_width
            row[at + 15] = 0
            box = tile_box(row, at, tiles_x, tiles_y)
            total = 0
            for ty in range(box[2], box[3]):
                first, last = tile_span(row, at, ty, box, tiles_x)
                for tx in range(first, last):
                    counts[i, piece, ty * tiles_x + tx] += 1
                    total += 1
            num_tiles[i, g] = total


@kernel
def project_backward(
    counter, means, quats, scales, opacities, cameras, low_pass, compensate, chunk, first_rows, num_tiles, rows,
    grad_means, grad_quats, grad_scales, grad_opacities, grad_colors, grad_cameras,
):  # fmt: skip
    """Sum each Gaussian's gradient rows in a fixed order and carry them through the projection.

    rows: [entries * RECORD] sums over pixels as `cpu_tiles` writes them, those of one Gaussian in one image together
    from `first_rows` [I, N] on. grad_cameras: [I, chunks, 12] gradient of rotation and translation, or [0, 0, 12].
    """
    num_images, num_gaussians = num_tiles.shape
    batch = means.shape[0]
    cameras_each = num_images // batch
    chunks = (num_gaussians + chunk - 1) // chunk
    sums = np.empty(RECORD)
    with_cameras = grad_cameras.shape[0] > 0
    while True:
        item = take_next(counter)
        if item >= batch * chunks:
            return
        b = item // chunks
        piece = item % chunks
        for g in range(piece * chunk, min((piece + 1) * chunk, num_gaussians)):
            v_mean0 = v_mean1 = v_mean2 = 0.0
            v_scale0 = v_scale1 = v_scale2 = 0.0
            v_r00 = v_r01 = v_r02 = v_r10 = v_r11 = v_r12 = v_r20 = v_r21 = v_r22 = 0.0
            v_opacity = v_red = v_green = v_blue = 0.0
            mx, my, mz = np.float64(means[b, g, 0]), np.float64(means[b, g, 1]), np.float64(means[b, g, 2])
            s0, s1, s2 = np.float64(scales[b, g, 0]), np.float64(scales[b, g, 1]), np.float64(scales[b, g, 2])
            r0, r1, r2, unit = rotation(quats, b, g)
            for i in range(b * cameras_each, (b + 1) * cameras_each):
                if num_tiles[i, g] == 0:
                    continue
                sums[:] = 0.0
                for row in range(first_rows[i, g], first_rows[i, g] + num_tiles[i, g]):
                    for k in range(RECORD):
                        sums[k] += rows[row * RECORD + k]
                q, q_t, q_y, q_tt = sums[0], sums[4], sums[8], sums[12]
                q_ty, q_yy = sums[1], sums[5]
                v_red += sums[9]
                v_green += sums[13]
                v_blue += sums[2]
                v_opacity += q
                camera = cameras[i]
                x = camera[0] * mx + camera[1] * my + camera[2] * mz + camera[9]
                y = camera[3] * mx + camera[4] * my + camera[5] * mz + camera[10]
                z = camera[6] * mx + camera[7] * my + camera[8] * mz + camera[11]
                m0, m1, m2, a0, a1, a2 = camera_axes(camera, r0, r1, r2, s0, s1, s2)
                p0, p1, jacobian, free_x, free_y = image_axes(camera, x, y, z, m0, m1, m2)
                xx, xy, yy = dot(p0, p0), dot(p0, p1), dot(p1, p1)
                sharp = determinant(p0, p1)
                det = sharp + low_pass * (xx + yy) + low_pass * low_pass
                # Q, the inverse of the blurred covariance, takes (dx, dy) to (at t, dy / yy - slope at t), at = a t.
                # With those moments d ln alpha / d covariance = Q (moments of dx, dy) Q / 2, and nothing cancels.
                a, c, slope = (yy + low_pass) / det, 1.0 / (yy + low_pass), xy / (yy + low_pass)
                v_u = a * q_t  # gradient of the mean in pixels
                v_v = c * q_y - slope * v_u
                along = slope * a * q_tt
                v00 = 0.5 * a * a * q_tt
                v01 = 0.5 * a * (c * q_ty - along)
                v11 = 0.5 * (c * c * q_yy - slope * a * (2 * c * q_ty - along))
                if compensate:  # d ln sqrt(det_sharp / det_blurred)
                    v00 += 0.5 * q * (yy / sharp - a)
                    v01 += 0.5 * q * (xy / det - xy / sharp)
                    v11 += 0.5 * q * (xx / sharp - (xx + low_pass) / det)
                v_p0 = (
                    2 * (v00 * p0[0] + v01 * p1[0]),
                    2 * (v00 * p0[1] + v01 * p1[1]),
                    2 * (v00 * p0[2] + v01 * p1[2]),
                )
                v_p1 = (
                    2 * (v01 * p0[0] + v11 * p1[0]),
                    2 * (v01 * p0[1] + v11 * p1[1]),
                    2 * (v01 * p0[2] + v11 * p1[2]),
                )
                j00, j11, j02, j12 = jacobian
                inverse = 1.0 / z
                v_x = j00 * v_u
                v_y = j11 * v_v
                v_z = -(j00 * x * v_u + j11 * y * v_v) * inverse + sums[6]
                v_j02, v_j12 = dot(v_p0, m2), dot(v_p1, m2)
                v_z -= (j00 * dot(v_p0, m0) + j11 * dot(v_p1, m1)) * inverse
                if free_x:
                    v_x -= j00 * inverse * v_j02
                    v_z -= 2 * j02 * inverse * v_j02
                else:
                    v_z -= j02 * inverse * v_j02
                if free_y:
                    v_y -= j11 * inverse * v_j12
                    v_z -= 2 * j12 * inverse * v_j12
                else:
                    v_z -= j12 * inverse * v_j12
                v_mean0 += camera[0] * v_x + camera[3] * v_y + camera[6] * v_z
                v_mean1 += camera[1] * v_x + camera[4] * v_y + camera[7] * v_z
                v_mean2 += camera[2] * v_x + camera[5] * v_y + camera[8] * v_z
                # Gradient of the scaled axes, then of the axes (w: rows in camera space) and of the scales.
                w00, w01, w02 = j00 * v_p0[0], j00 * v_p0[1], j00 * v_p0[2]
                w10, w11, w12 = j11 * v_p1[0], j11 * v_p1[1], j11 * v_p1[2]
                w20 = j02 * v_p0[0] + j12 * v_p1[0]
                w21 = j02 * v_p0[1] + j12 * v_p1[1]
                w22 = j02 * v_p0[2] + j12 * v_p1[2]
                v_scale0 += a0[0] * w00 + a1[0] * w10 + a2[0] * w20
                v_scale1 += a0[1] * w01 + a1[1] * w11 + a2[1] * w21
                v_scale2 += a0[2] * w02 + a1[2] * w12 + a2[2] * w22
                w00, w10, w20 = w00 * s0, w10 * s0, w20 * s0
                w01, w11, w21 = w01 * s1, w11 * s1, w21 * s1
                w02, w12, w22 = w02 * s2, w12 * s2, w22 * s2
                v_r00 += camera[0] * w00 + camera[3] * w10 + camera[6] * w20
                v_r01 += camera[0] * w01 + camera[3] * w11 + camera[6] * w21
                v_r02 += camera[0] * w02 + camera[3] * w12 + camera[6] * w22
                v_r10 += camera[1] * w00 + camera[4] * w10 + camera[7] * w20
                v_r11 += camera[1] * w01 + camera[4] * w11 + camera[7] * w21
                v_r12 += camera[1] * w02 + camera[4] * w12 + camera[7] * w22
                v_r20 += camera[2] * w00 + camera[5] * w10 + camera[8] * w20
                v_r21 += camera[2] * w01 + camera[5] * w11 + camera[8] * w21
                v_r22 += camera[2] * w02 + camera[5] * w12 + camera[8] * w22
                if with_cameras:
                    grad = grad_cameras[i, piece]
                    w0, w1, w2 = (w00, w01, w02), (w10, w11, w12), (w20, w21, w22)
                    grad[0] += dot(w0, r0) + v_x * mx
                    grad[1] += dot(w0, r1) + v_x * my
                    grad[2] += dot(w0, r2) + v_x * mz
                    grad[3] += dot(w1, r0) + v_y * mx
                    grad[4] += dot(w1, r1) + v_y * my
                    grad[5] += dot(w1, r2) + v_y * mz
                    grad[6] += dot(w2, r0) + v_z * mx
                    grad[7] += dot(w2, r1) + v_z * my
                    grad[8] += dot(w2, r2) + v_z * mz
                    grad[9] += v_x
                    grad[10] += v_y
                    grad[11] += v_z
            w, x, y, z, inverse = unit
            v_w = 2 * (x * (v_r21 - v_r12) + y * (v_r02 - v_r20) + z * (v_r10 - v_r01))
            v_x = 2 * (-2 * x * (v_r11 + v_r22) + y * (v_r01 + v_r10) + z * (v_r02 + v_r20) + w * (v_r21 - v_r12))
            v_y = 2 * (x * (v_r01 + v_r10) - 2 * y * (v_r00 + v_r22) + z * (v_r12 + v_r21) + w * (v_r02 - v_r20))
            v_z = 2 * (x * (v_r02 + v_r20) + y * (v_r12 + v_r21) - 2 * z * (v_r00 + v_r11) + w * (v_r10 - v_r01))
            radial = v_w * w + v_x * x + v_y * y + v_z * z
            grad_quats[b, g, 0] = (v_w - radial * w) * inverse
            grad_quats[b, g, 1] = (v_x - radial * x) * inverse
            grad_quats[b, g, 2] = (v_y - radial * y) * inverse
            grad_quats[b, g, 3] = (v_z - radial * z) * inverse
            grad_means[b, g, 0] = v_mean0
            grad_means[b, g, 1] = v_mean1
            grad_means[b, g, 2] = v_mean2
            grad_scales[b, g, 0] = v_scale0
            grad_scales[b, g, 1] = v_scale1
            grad_scales[b, g, 2] = v_scale2
            grad_opacities[b, g] = v_opacity / opacities[b, g] if v_opacity != 0 else 0.0
            grad_colors[b, g, 0] = v_red
            grad_colors[b, g, 1] = v_green
            grad_colors[b, g, 2] = v_blue
