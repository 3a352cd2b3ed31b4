"""Triangles to images: visibility at every sample of a pixel, shading of what is seen, mean over the pixel.

A triangle is its three edge planes in image coordinates: at a sample they give the barycentric weights over depth, up to
one factor, so that inside, depth and perspective-correct weights need no clipping, not even around the camera. Faces
that share an edge share its plane up to the sign, bit by bit: no sample slips through between them.

A band of rows is the unit of work. Sixteen samples, a block of 4 x 4 pixels at one place within the pixel, are tested at
once. Where a surface lets light through, the band is drawn again with what lies behind the samples it has already.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from gvf.compiled.kernels import helper, kernel
from gvf.compiled.simd import (
    BLOCK,
    any_lane,
    fma,
    lane_positions,
    load,
    load_one,
    select,
    smaller,
    splat,
    store,
    take_next,
)
from gvf.rendering.mesh_shading import shade
from gvf.rendering.texture import srgb_code

BAND = 16  # rows of pixels per work item
CHUNK = 2048  # faces per work item
RECORD = 16  # float32 values per face and image: edge planes (9), 1/depth (3) from an anchor on (2), back (1), nothing
MAX_LAYERS = 8  # surfaces a ray may pass through where they are cut out or blended
_STEP_BEHIND = np.float32(2e-5)  # how far behind a passed surface the next one is looked for, world units along z
_ALMOST_OPAQUE = np.float32(1 / 512)  # a sample is done when less than half an 8-bit step shines through
_FLAT = 1e-13  # a face whose plane passes through the camera, up to rounding


@helper
def cross(a, b):
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


@helper
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@helper
def in_camera(viewmat, vertices, vertex):
    """Return a vertex in camera space, three float64."""
    p = (np.float64(vertices[vertex, 0]), np.float64(vertices[vertex, 1]), np.float64(vertices[vertex, 2]))
    return (
        dot((viewmat[0, 0], viewmat[0, 1], viewmat[0, 2]), p) + viewmat[0, 3],
        dot((viewmat[1, 0], viewmat[1, 1], viewmat[1, 2]), p) + viewmat[1, 3],
        dot((viewmat[2, 0], viewmat[2, 1], viewmat[2, 2]), p) + viewmat[2, 3],
    )


@helper
def in_image(to_ray, n):
    """Return the plane n . ray = 0 in camera space as (per x, per y, at 0) in pixels; to_ray: [3, 3] from (x, y, 1) to the ray."""
    return (
        dot((to_ray[0, 0], to_ray[1, 0], to_ray[2, 0]), n),
        dot((to_ray[0, 1], to_ray[1, 1], to_ray[2, 1]), n),
        dot((to_ray[0, 2], to_ray[1, 2], to_ray[2, 2]), n),
    )


@helper
def pixel_box(to_pixel, a, b, c, size):
    """Return the first and last (exclusive) column and row that a triangle may touch; to_pixel: [3, 3] camera space to pixels."""
    nearest = min(a[2], b[2], c[2])
    if max(a[2], b[2], c[2]) <= 0.0:
        return 0, 0, 0, 0
    if nearest <= 1e-6:  # beside or behind the camera: it may be anywhere
        return 0, 0, size, size
    low_x = low_y = math.inf
    high_x = high_y = -math.inf
    for corner in (a, b, c):
        x = (to_pixel[0, 0] * corner[0] + to_pixel[0, 1] * corner[1]) / corner[2] + to_pixel[0, 2]
        y = (to_pixel[1, 0] * corner[0] + to_pixel[1, 1] * corner[1]) / corner[2] + to_pixel[1, 2]
        low_x, high_x = min(low_x, x), max(high_x, x)
        low_y, high_y = min(low_y, y), max(high_y, y)
    end = np.float64(size)
    return (
        np.int64(min(max(low_x, 0.0), end)),
        np.int64(min(max(low_y, 0.0), end)),
        np.int64(math.ceil(min(max(high_x, 0.0), end))),
        np.int64(math.ceil(min(max(high_y, 0.0), end))),
    )


@kernel
def place_faces(counter, vertices, faces, double_sided, viewmats, to_pixels, to_rays, size, records, boxes):
    """Fill `records` [C, F * RECORD] and `boxes` [C, F, 4] (x and y of the first pixel, then of the last, exclusive).

    double_sided: [F] bool, whether back faces are drawn (glTF, section 3.9.6). viewmats: [C, 4, 4] float64; to_pixels:
    [C, 3, 3] camera space to pixels, to_rays their inverses. A face that cannot be seen has an empty box. An item is a
    chunk of the faces in one image.
    """
    num_faces = len(faces)
    chunks = (num_faces + CHUNK - 1) // CHUNK
    while True:
        item = take_next(counter)
        if item >= len(viewmats) * chunks:
            return
        camera = item // chunks
        piece = item % chunks
        row = records[camera]
        for face in range(piece * CHUNK, min((piece + 1) * CHUNK, num_faces)):
            box = boxes[camera, face]
            a = in_camera(viewmats[camera], vertices, faces[face, 0])
            b = in_camera(viewmats[camera], vertices, faces[face, 1])
            c = in_camera(viewmats[camera], vertices, faces[face, 2])
            edges = cross(b, c), cross(c, a), cross(a, b)
            volume = dot(a, edges[0])
            if volume > 0 and not double_sided[face]:
                box[:] = 0
                continue
            box[0], box[1], box[2], box[3] = pixel_box(to_pixels[camera], a, b, c, size)
            flat = volume * volume <= _FLAT * _FLAT * dot(a, a) * dot(b, b) * dot(c, c)
            if box[0] >= box[2] or box[1] >= box[3] or flat or not math.isfinite(volume):
                box[:] = 0
                continue
            at = face * RECORD
            sign = 1.0 if volume > 0 else -1.0
            for corner in range(3):
                plane = in_image(to_rays[camera], edges[corner])
                for k in range(3):
                    row[at + 3 * corner + k] = sign * plane[k]
            whole = (
                (edges[0][0] + edges[1][0] + edges[2][0]) / volume,
                (edges[0][1] + edges[1][1] + edges[2][1]) / volume,
                (edges[0][2] + edges[1][2] + edges[2][2]) / volume,
            )
            over_depth = in_image(to_rays[camera], whole)
            anchor_x, anchor_y = np.float64(box[0]), np.float64(box[1])
            row[at + 9] = over_depth[0]
            row[at + 10] = over_depth[1]
            row[at + 11] = over_depth[0] * anchor_x + over_depth[1] * anchor_y + over_depth[2]
            row[at + 12] = anchor_x
            row[at + 13] = anchor_y
            row[at + 14] = 1.0 if volume > 0 else 0.0
            row[at + 15] = 0.0


@helper
def cover(row, face, box, top, first_block, blocks_x, blocks_y, offsets, lane_x, lane_y, behind, nearest, seen, limits):
    """Let one face take the samples of a band where it is the nearest, and, `behind`, behind what `limits` says.

    nearest, seen, limits: [planes * blocks_y * blocks_x * 16] 1/depth, face and bound on 1/depth of each sample.
    """
    at = face * RECORD
    x_a, y_a, at_a = load_one(row, at), load_one(row, at + 1), load_one(row, at + 2)
    x_b, y_b, at_b = load_one(row, at + 3), load_one(row, at + 4), load_one(row, at + 5)
    x_c, y_c, at_c = load_one(row, at + 6), load_one(row, at + 7), load_one(row, at + 8)
    x_d, y_d, at_d = load_one(row, at + 9), load_one(row, at + 10), load_one(row, at + 11)
    anchor_x, anchor_y = load_one(row, at + 12), load_one(row, at + 13)
    zero = splat(0.0)
    first_y = max(0, box[1] - top) // BLOCK
    last_y = min(blocks_y, (box[3] - top + BLOCK - 1) // BLOCK)
    first_x = box[0] // BLOCK - first_block
    last_x = (box[2] + BLOCK - 1) // BLOCK - first_block
    for plane in range(len(offsets)):
        for block_y in range(first_y, last_y):
            y = lane_y + (np.float32(top + block_y * BLOCK) + offsets[plane, 1])
            row_a, row_b, row_c = fma(y_a, y, at_a), fma(y_b, y, at_b), fma(y_c, y, at_c)
            row_d = fma(y_d, y - anchor_y, at_d)
            for block_x in range(first_x, last_x):
                x = lane_x + (np.float32((first_block + block_x) * BLOCK) + offsets[plane, 0])
                inside = smaller(smaller(fma(x_a, x, row_a), fma(x_b, x, row_b)), fma(x_c, x, row_c)) >= zero
                if any_lane(inside):
                    slot = ((plane * blocks_y + block_y) * blocks_x + block_x) * 16
                    found = select(inside, fma(x_d, x - anchor_x, row_d), zero)
                    if behind:
                        found = select(found < load(limits, slot), found, zero)
                    before = load(nearest, slot)
                    closer = found > before
                    store(nearest, slot, select(closer, found, before))
                    store(seen, slot, select(closer, splat(np.float32(face)), load(seen, slot)))


@helper
def weights_at(row, face, x, y):
    """Return the perspective-correct weights of a face's second and third corner at a sample inside it."""
    at = face * RECORD
    a = row[at] * x + row[at + 1] * y + row[at + 2]
    b = row[at + 3] * x + row[at + 4] * y + row[at + 5]
    c = row[at + 6] * x + row[at + 7] * y + row[at + 8]
    whole = a + b + c
    scale = np.float32(1) / whole if whole > 0 else np.float32(0)
    return b * scale, c * scale


@kernel
def draw_bands(
    counter, corners, texel_density, face_materials, materials, texels, levels, num_levels, spacings, offsets, layers,
    records, boxes, images,
):  # fmt: skip
    """Draw bands of rows into `images` [C, size, size, 4] uint8 sRGB with straight alpha. Fills all pixels.

    corners to num_levels: the `Surface` of the frame; spacings: [C] distance of samples at unit depth; offsets:
    [planes, 2] float32, the samples' places in a pixel; layers: how many surfaces a sample may pass.
    """
    num_cameras, size = images.shape[:2]
    num_faces = boxes.shape[1]
    planes = len(offsets)
    bands = (size + BAND - 1) // BAND
    most_blocks = BAND // BLOCK * ((size + BLOCK - 1) // BLOCK)
    listed = np.empty(num_faces, np.int64)
    nearest = np.empty(planes * most_blocks * 16, np.float32)
    seen = np.empty(planes * most_blocks * 16, np.float32)
    limits = np.empty(planes * most_blocks * 16 if layers > 1 else 0, np.float32)
    through = np.empty(planes * most_blocks * 16 if layers > 1 else 0, np.float32)
    light = np.empty(most_blocks * 16 * 4, np.float32)
    lane_x, lane_y = lane_positions(np.float32(0))
    one = np.float32(1)
    zero = splat(0.0)
    while True:
        item = take_next(counter)
        if item >= num_cameras * bands:
            return
        camera = item // bands
        top = item % bands * BAND
        bottom = min(top + BAND, size)
        images[camera, top:bottom] = 0
        row = records[camera]
        count = 0
        first_pixel = size
        last_pixel = 0
        for face in range(num_faces):
            box = boxes[camera, face]
            if box[1] < bottom and box[3] > top:
                listed[count] = face
                count += 1
                first_pixel = min(first_pixel, box[0])
                last_pixel = max(last_pixel, box[2])
        if count == 0:
            continue
        first_block = first_pixel // BLOCK
        blocks_x = (last_pixel + BLOCK - 1) // BLOCK - first_block
        blocks_y = (bottom - top + BLOCK - 1) // BLOCK
        blocks = blocks_y * blocks_x
        samples = planes * blocks * 16
        light[: blocks * 64] = 0
        if layers > 1:
            limits[:samples] = np.inf
            through[:samples] = 1
        for layer in range(layers):
            nearest[:samples] = 0
            for k in range(count):
                cover(
                    row, listed[k], boxes[camera, listed[k]], top, first_block, blocks_x, blocks_y, offsets, lane_x, lane_y,
                    layer > 0, nearest, seen, limits,
                )  # fmt: skip
            pending = False
            for block in range(planes * blocks):
                if not any_lane(load(nearest, block * 16) > zero):
                    if layers > 1:
                        store(limits, block * 16, zero)
                    continue
                offset_x, offset_y = offsets[block // blocks, 0], offsets[block // blocks, 1]
                left = (first_block + block % blocks % blocks_x) * BLOCK
                up = top + block % blocks // blocks_x * BLOCK
                for lane in range(16):
                    slot = block * 16 + lane
                    x, y = left + lane % BLOCK, up + lane // BLOCK
                    if nearest[slot] <= 0 or x >= size or y >= bottom:
                        if layers > 1:
                            limits[slot] = 0
                        continue
                    hit = np.int64(seen[slot])
                    depth = one / nearest[slot]
                    b, c = weights_at(row, hit, np.float32(x) + offset_x, np.float32(y) + offset_y)
                    red, green, blue, alpha = shade(
                        corners, texel_density, face_materials, materials, texels, levels, num_levels, hit, b, c,
                        row[hit * RECORD + 14] > 0, spacings[camera] * depth,
                    )  # fmt: skip
                    if layers > 1:
                        shining = through[slot]
                        through[slot] = shining * (one - alpha)
                        more = through[slot] > _ALMOST_OPAQUE
                        limits[slot] = one / (depth + _STEP_BEHIND) if more else np.float32(0)
                        pending |= more
                        alpha *= shining
                    pixel = (block % blocks * 16 + lane) * 4
                    light[pixel] += red * alpha
                    light[pixel + 1] += green * alpha
                    light[pixel + 2] += blue * alpha
                    light[pixel + 3] += alpha
            if not pending:
                break
        for block in range(blocks):
            left, up = (first_block + block % blocks_x) * BLOCK, top + block // blocks_x * BLOCK
            for lane in range(16):
                pixel = (block * 16 + lane) * 4
                alpha = light[pixel + 3]
                code = np.int64(min(alpha / np.float32(planes), one) * np.float32(255) + np.float32(0.5))
                if code > 0:  # never outside the image: nothing was added there
                    x, y = left + lane % BLOCK, up + lane // BLOCK
                    for channel in range(3):
                        images[camera, y, x, channel] = srgb_code(light[pixel + channel] / alpha)
                    images[camera, y, x, 3] = code
