"""From projected Gaussians to pixels and back: binning, depth order, alpha compositing, gradient sums.

A tile (32 x 32 pixels) is the unit of work and of sorting; a block (4 x 4 pixels, sixteen lanes) the unit of
compositing. Each tile sorts its Gaussians by depth, then marks for every block which ellipses reach it, one bit per Gaussian,
so that a block's colour, transmittance and early exit live in registers and few lanes are wasted.

Compositing is front to back as in 3DGS: alpha = min(0.999, o exp(-sigma)), nothing below 1/255, a pixel ends before
its transmittance would fall to 1e-4. Every (Gaussian, tile) pair writes a gradient row of its own, so sums have one
order whatever the number of threads.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import math

import numpy as np

from gvf.compiled.bits import float_bits, lowest_bit, transpose_bits
from gvf.compiled.kernels import helper, kernel
from gvf.compiled.simd import (
    BLOCK,
    any_lane,
    exp2,
    fma,
    interval_bits,
    lane_positions,
    larger,
    load,
    load_one,
    prefetch,
    select,
    smaller,
    splat,
    square_root,
    store,
    sum_lanes,
    take_next,
)
from gvf.rendering.cpu_projection import RECORD, TILE, num_cells, tile_box, tile_span

BLOCKS = TILE // BLOCK
_LOG2_MIN_ALPHA = -math.log2(255.0)
_MAX_ALPHA = 0.999
_AHEAD = 8  # records prefetched before they are needed
_MIN_TRANSMITTANCE = 1e-4
_MIN_OPACITY_FOR_DEPTH = np.float32(1e-10)


@kernel
def lay_out(counts, tile_starts, row_starts):
    """Turn counts [I, chunks, tiles] into each chunk's first slot of each tile, in place.

    tile_starts: [I * tiles + 1]; row_starts: [I, chunks], first gradient row of a chunk's Gaussians. Returns the
    longest tile list. A tile's list is ordered by Gaussian, a chunk's rows too: both independent of threads.
    """
    num_images, chunks, tiles = counts.shape
    position = 0
    row = 0
    longest = 0
    for i in range(num_images):
        for piece in range(chunks):
            row_starts[i, piece] = row
            for tile in range(tiles):
                row += counts[i, piece, tile]
        for tile in range(tiles):
            tile_starts[i * tiles + tile] = position
            for piece in range(chunks):
                count = counts[i, piece, tile]
                counts[i, piece, tile] = position
                position += count
            longest = max(longest, position - tile_starts[i * tiles + tile])
    tile_starts[num_images * tiles] = position
    return longest


@kernel
def fill_tiles(counter, records, num_tiles, width, height, chunk, slots, row_starts, first_rows, entries, entry_rows):
    """Write each Gaussian's index into the lists of its tiles, and the gradient row each pair will use.

    slots: the result of `lay_out`, used up. entries, entry_rows: [number of pairs].
    """
    num_images, num_gaussians = num_tiles.shape
    chunks = slots.shape[1]
    tiles_x, tiles_y = num_cells(width, TILE), num_cells(height, TILE)
    while True:
        item = take_next(counter)
        if item >= num_images * chunks:
            return
        i = item // chunks
        piece = item % chunks
        row = records[i]
        next_row = row_starts[i, piece]
        for g in range(piece * chunk, min((piece + 1) * chunk, num_gaussians)):
            first_rows[i, g] = next_row
            if num_tiles[i, g] == 0:
                continue
            at = g * RECORD
            box = tile_box(row, at, tiles_x, tiles_y)
            for ty in range(box[2], box[3]):
                first, last = tile_span(row, at, ty, box, tiles_x)
                for tx in range(first, last):
                    slot = slots[i, piece, ty * tiles_x + tx]
                    slots[i, piece, ty * tiles_x + tx] = slot + 1
                    entries[slot] = g
                    entry_rows[slot] = next_row
                    next_row += 1


@helper
def sort_by_depth(keys, order, spare_keys, spare_order, count):
    """Fill `order` of the first `count` keys (uint32) that sorts them, stable; the keys may be permuted."""
    lowest = keys[0]
    highest = keys[0]
    sorted_already = True
    for k in range(count):
        order[k] = k
        lowest = min(lowest, keys[k])
        highest = max(highest, keys[k])
        sorted_already &= k == 0 or keys[k - 1] <= keys[k]
    if sorted_already:
        return
    if count <= 48:
        for k in range(1, count):
            key = keys[k]
            index = order[k]
            j = k - 1
            while j >= 0 and keys[j] > key:
                keys[j + 1] = keys[j]
                order[j + 1] = order[j]
                j -= 1
            keys[j + 1] = key
            order[j + 1] = index
        return
    histogram = np.empty(256, np.int32)
    span = highest - lowest
    shift = np.uint32(0)
    while (span >> shift) > 0:
        histogram[:] = 0
        for k in range(count):
            histogram[((keys[k] - lowest) >> shift) & np.uint32(255)] += 1
        total = 0
        for digit in range(256):
            here = histogram[digit]
            histogram[digit] = total
            total += here
        for k in range(count):
            digit = ((keys[k] - lowest) >> shift) & np.uint32(255)
            slot = histogram[digit]
            histogram[digit] = slot + 1
            spare_keys[slot] = keys[k]
            spare_order[slot] = order[k]
        for k in range(count):
            keys[k] = spare_keys[k]
            order[k] = spare_order[k]
        shift += np.uint32(8)
        if shift >= 32:
            return


@helper
def order_tile(records, entries, entry_rows, start, count, keys, order, spare_keys, spare_order):
    """Sort one tile's list by depth, equal depths by index, in place."""
    for k in range(count):
        keys[k] = float_bits(records[np.int64(entries[start + k]) * RECORD + 6])
    sort_by_depth(keys, order, spare_keys, spare_order, count)
    for k in range(count):
        spare_order[k] = entries[start + k]
    for k in range(count):
        entries[start + k] = spare_order[order[k]]
    for k in range(count):
        spare_order[k] = entry_rows[start + k]
    for k in range(count):
        entry_rows[start + k] = spare_order[order[k]]


@helper
def block_bits(local, at, first_tops, signs, blocks_x):
    """Return which of a tile's 8 x 8 blocks the ellipse of record `at` (relative to the tile) reaches: bit 8 y + x of uint64.

    The lanes hold the left ends of the eight rows of blocks, then their right ends; `signs` is -1 and 1 there, and
    `first_tops` the y of each row's first pixel centres, huge for rows outside the image.
    """
    mx = load_one(local, at)
    half_height = load_one(local, at + 12)
    top = first_tops - load_one(local, at + 1)
    low = larger(top, half_height * np.float32(-1))
    high = smaller(top + np.float32(BLOCK - 1), half_height)
    y = smaller(larger(signs * load_one(local, at + 13), low), high)
    half_chord = square_root(larger(load_one(local, at + 10) - load_one(local, at + 11) * y * y, splat(0.0)))
    x = fma(load_one(local, at + 3), y, mx) + signs * half_chord
    # Left ends: the first block whose last pixel centre is at x or right of it; right ends: one past the last block.
    ends = fma(x, np.float32(1 / BLOCK), fma(signs, np.float32(0.375), splat(0.5)))
    ends = smaller(larger(ends, splat(0.0)), splat(blocks_x))
    return interval_bits(select(low <= high, ends, splat(0.0)))


@helper
def gather_tile(records, entries, start, count, x0, y0, local):
    """Copy one tile's records into `local`, means relative to the tile."""
    corner = np.zeros(16, np.float32)
    corner[0] = x0
    corner[1] = y0
    offset = load(corner, 0)
    for k in range(count):
        prefetch(records, np.int64(entries[start + min(k + _AHEAD, count - 1)]) * RECORD)
        store(local, k * RECORD, load(records, np.int64(entries[start + k]) * RECORD) - offset)


@helper
def find_blocks(local, count, columns, rows, reached, first):
    """Fill `reached` from `first` on: of each 64 entries 64 values, one per block, whose bits are the entries that reach it.

    columns, rows: the tile's pixels inside the image.
    """
    lanes = np.empty(32, np.float32)
    for lane in range(16):
        top = np.float32(lane % BLOCKS * BLOCK) + np.float32(0.5)
        lanes[lane] = top if top < rows else np.float32(np.inf)
        lanes[16 + lane] = -1 if lane < BLOCKS else 1
    first_tops = load(lanes, 0)
    signs = load(lanes, 16)
    blocks_x = np.float32(min(BLOCKS, num_cells(columns, BLOCK)))
    padded = num_cells(count, 64) * 64
    for k in range(count):
        reached[first + k] = block_bits(local, k * RECORD, first_tops, signs, blocks_x)
    for k in range(count, padded):
        reached[first + k] = np.uint64(0)
    for group in range(0, padded, 64):
        transpose_bits(reached, first + group)


@helper
def chord_offsets(local, at, x, y):
    """Return t and dy of `cpu_projection`: how far sixteen pixels are from the centre of their row's chord, and from the mean."""
    dy = y - load_one(local, at + 1)
    return x - load_one(local, at) - load_one(local, at + 3) * dy, dy


@helper
def log_alpha(local, at, x, y):
    """Return log2 of opacity exp(-sigma) at sixteen pixels."""
    t, dy = chord_offsets(local, at, x, y)
    power = fma(load_one(local, at + 2) * t, t, load_one(local, at + 5))
    return fma(load_one(local, at + 4) * dy, dy, power)


@helper
def tile_corner(tile, tiles_x):
    """Return column and row of a tile's top left pixel."""
    return tile % tiles_x * TILE, tile // tiles_x * TILE


@helper
def block_pixels(block, lane_x, lane_y, columns, rows):
    """Return x and y of the sixteen pixel centres of a tile's block, and the log2(alpha) from which they are drawn.

    columns, rows: the tile's pixels inside the image; those outside have an infinite threshold.
    """
    x = lane_x + np.float32(block % BLOCKS * BLOCK)
    y = lane_y + np.float32(block // BLOCKS * BLOCK)
    threshold = select(x < np.float32(columns), splat(_LOG2_MIN_ALPHA), splat(np.inf))
    return x, y, select(y < np.float32(rows), threshold, splat(np.inf))


@helper
def visible_alpha(power, visible):
    """Return alpha from log2(alpha): cut off above, zero where it is not visible."""
    value = exp2(power)
    return select(visible, select(value < _MAX_ALPHA, value, splat(_MAX_ALPHA)), splat(0.0))


@helper
def light_after(transmittance, value):
    """Return the transmittance behind a Gaussian of this alpha. One rounding, so forward and backward end at the same Gaussian."""
    return fma(value * np.float32(-1), transmittance, transmittance)


@kernel
def draw_tiles(
    counter, records, entries, entry_rows, tile_starts, longest, width, height, background, reached, rgb, alpha, depth
):
    """Sort and composite every tile. rgb: [I, H, W, 3] over `background`; alpha, depth: [I, H, W]. Fills all pixels.

    reached: [entries + 64 * tiles] uint64, what `find_blocks` returns for each tile, kept for the backward pass.
    """
    tiles_x = num_cells(width, TILE)
    tiles = tiles_x * num_cells(height, TILE)
    keys = np.empty(longest, np.uint32)
    spare_keys = np.empty(longest, np.uint32)
    order = np.empty(longest, np.int32)
    spare_order = np.empty(longest, np.int32)
    local = np.empty(longest * RECORD, np.float32)
    lane_x, lane_y = lane_positions(np.float32(0.5))
    pixels = np.empty(5 * 16, np.float32)
    never = np.float32(np.inf)
    while True:
        item = take_next(counter)
        if item >= len(tile_starts) - 1:
            return
        i = item // tiles
        x0, y0 = tile_corner(item % tiles, tiles_x)
        start = tile_starts[item]
        count = tile_starts[item + 1] - start
        blocks_x = min(BLOCKS, num_cells(width - x0, BLOCK))
        blocks_y = min(BLOCKS, num_cells(height - y0, BLOCK))
        groups = num_cells(count, 64)
        first_mask = start + 64 * item  # a tile's masks are as many as its entries, to the next multiple of 64
        if count > 0:
            order_tile(records[i], entries, entry_rows, start, count, keys, order, spare_keys, spare_order)
            gather_tile(records[i], entries, start, count, x0, y0, local)
            find_blocks(local, count, width - x0, height - y0, reached, first_mask)
        for by in range(blocks_y):
            for bx in range(blocks_x):
                block = by * BLOCKS + bx
                x, y, threshold = block_pixels(block, lane_x, lane_y, width - x0, height - y0)
                transmittance = splat(1.0)
                red = splat(0.0)
                green = splat(0.0)
                blue = splat(0.0)
                far = splat(0.0)
                group = 0
                mask = np.uint64(0)
                while True:
                    while mask == 0 and group < groups:
                        mask = reached[first_mask + group * 64 + block]
                        group += 1
                    if mask == 0:
                        break
                    at = ((group - 1) * 64 + lowest_bit(mask)) * RECORD
                    mask &= mask - np.uint64(1)
                    power = log_alpha(local, at, x, y)
                    visible = power >= threshold
                    if any_lane(visible):
                        value = visible_alpha(power, visible)
                        weight = value * transmittance
                        after = light_after(transmittance, value)
                        ends = after <= _MIN_TRANSMITTANCE
                        if any_lane(ends):
                            weight = select(ends, splat(0.0), weight)
                            after = select(ends, transmittance, after)
                            threshold = select(ends, splat(never), threshold)
                            if not any_lane(threshold < never):
                                break
                        transmittance = after
                        red = fma(weight, load_one(local, at + 7), red)
                        green = fma(weight, load_one(local, at + 8), green)
                        blue = fma(weight, load_one(local, at + 9), blue)
                        far = fma(weight, load_one(local, at + 6), far)
                store(pixels, 0, fma(transmittance, background[0], red))
                store(pixels, 16, fma(transmittance, background[1], green))
                store(pixels, 32, fma(transmittance, background[2], blue))
                store(pixels, 48, splat(1.0) - transmittance)
                store(pixels, 64, far)
                for lane in range(16):
                    px = x0 + bx * BLOCK + lane % BLOCK
                    py = y0 + by * BLOCK + lane // BLOCK
                    if px < width and py < height:
                        rgb[i, py, px, 0] = pixels[lane]
                        rgb[i, py, px, 1] = pixels[16 + lane]
                        rgb[i, py, px, 2] = pixels[32 + lane]
                        alpha[i, py, px] = pixels[48 + lane]
                        depth[i, py, px] = pixels[64 + lane] / max(pixels[48 + lane], _MIN_OPACITY_FOR_DEPTH)


@kernel
def draw_tiles_backward(
    counter, records, entries, entry_rows, tile_starts, longest, width, height, background, reached, alpha, depth,
    grad_rgb, grad_alpha, grad_depth, rows,
):  # fmt: skip
    """Fill the gradient rows of every (Gaussian, tile) pair: sums over the tile's pixels, in the lane order of `sum_lanes`.

    With q = d loss / d ln alpha of a pixel, w its blending weight and (t, dy) its `chord_offsets`: q, q t, q dy, q t^2,
    q t dy, q dy^2, w d red, w d green, w d blue, w d depth. A block walks front to back to recompute alpha and
    transmittance, then back to front with one running value: what lies behind, dotted with the gradient.
    """
    tiles_x = num_cells(width, TILE)
    tiles = tiles_x * num_cells(height, TILE)
    local = np.empty(longest * RECORD, np.float32)
    sums = np.empty(longest * RECORD, np.float32)
    kept = np.empty(longest * 32, np.float32)
    kept_entries = np.empty(longest, np.int32)
    lane_x, lane_y = lane_positions(np.float32(0.5))
    pixels = np.empty(5 * 16, np.float32)
    never = np.float32(np.inf)
    while True:
        item = take_next(counter)
        if item >= len(tile_starts) - 1:
            return
        start = tile_starts[item]
        count = tile_starts[item + 1] - start
        if count == 0:
            continue
        i = item // tiles
        x0, y0 = tile_corner(item % tiles, tiles_x)
        blocks_x = min(BLOCKS, num_cells(width - x0, BLOCK))
        blocks_y = min(BLOCKS, num_cells(height - y0, BLOCK))
        groups = num_cells(count, 64)
        first_mask = start + 64 * item
        gather_tile(records[i], entries, start, count, x0, y0, local)
        sums[: count * RECORD] = 0
        for by in range(blocks_y):
            for bx in range(blocks_x):
                block = by * BLOCKS + bx
                x, y, threshold = block_pixels(block, lane_x, lane_y, width - x0, height - y0)
                transmittance = splat(1.0)
                num_kept = 0
                group = 0
                mask = np.uint64(0)
                while True:
                    while mask == 0 and group < groups:
                        mask = reached[first_mask + group * 64 + block]
                        group += 1
                    if mask == 0:
                        break
                    entry = (group - 1) * 64 + lowest_bit(mask)
                    mask &= mask - np.uint64(1)
                    power = log_alpha(local, entry * RECORD, x, y)
                    visible = power >= threshold
                    if any_lane(visible):
                        value = visible_alpha(power, visible)
                        after = light_after(transmittance, value)
                        ends = after <= _MIN_TRANSMITTANCE
                        if any_lane(ends):
                            value = select(ends, splat(0.0), value)
                            after = select(ends, transmittance, after)
                            threshold = select(ends, splat(never), threshold)
                            if not any_lane(threshold < never):
                                break
                        store(kept, num_kept * 32, value)
                        store(kept, num_kept * 32 + 16, transmittance)
                        kept_entries[num_kept] = entry
                        num_kept += 1
                        transmittance = after
                if num_kept == 0:
                    continue
                for lane in range(16):
                    px = x0 + bx * BLOCK + lane % BLOCK
                    py = y0 + by * BLOCK + lane // BLOCK
                    if px < width and py < height:
                        opacity = alpha[i, py, px]
                        v_depth = grad_depth[i, py, px] / max(opacity, _MIN_OPACITY_FOR_DEPTH)
                        v_alpha = grad_alpha[i, py, px]
                        if opacity > _MIN_OPACITY_FOR_DEPTH:
                            v_alpha -= v_depth * depth[i, py, px]
                        v_red = grad_rgb[i, py, px, 0]
                        v_green = grad_rgb[i, py, px, 1]
                        v_blue = grad_rgb[i, py, px, 2]
                        pixels[lane] = v_red
                        pixels[16 + lane] = v_green
                        pixels[32 + lane] = v_blue
                        pixels[48 + lane] = v_depth
                        pixels[64 + lane] = (
                            background[0] * v_red + background[1] * v_green + background[2] * v_blue - v_alpha
                        )
                    else:
                        for channel in range(5):
                            pixels[channel * 16 + lane] = 0
                v_red = load(pixels, 0)
                v_green = load(pixels, 16)
                v_blue = load(pixels, 32)
                v_depth = load(pixels, 48)
                behind = load(pixels, 64)
                for k in range(num_kept - 1, -1, -1):
                    at = np.int64(kept_entries[k]) * RECORD
                    value = load(kept, k * 32)
                    transmittance = load(kept, k * 32 + 16)
                    here = load_one(local, at + 7) * v_red
                    here = fma(load_one(local, at + 8), v_green, here)
                    here = fma(load_one(local, at + 9), v_blue, here)
                    here = fma(load_one(local, at + 6), v_depth, here)
                    here = here - behind
                    behind = fma(value, here, behind)
                    weight = value * transmittance
                    q = select(value < _MAX_ALPHA, weight * here, splat(0.0))
                    t, dy = chord_offsets(local, at, x, y)
                    q_t = q * t
                    q_y = q * dy
                    total = sum_lanes(
                        (
                            q, q_t, q_y, q_t * t, q_t * dy, q_y * dy,
                            weight * v_red, weight * v_green, weight * v_blue, weight * v_depth,
                        )
                    )  # fmt: skip
                    store(sums, at, load(sums, at) + total)
        for k in range(count):
            store(rows, np.int64(entry_rows[start + k]) * RECORD, load(sums, k * RECORD))
