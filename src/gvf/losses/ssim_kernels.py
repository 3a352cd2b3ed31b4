"""Structural similarity and its gradient, compiled for CPUs: each in one pass over both images.

Torch blurs four maps of both images in two convolutions, keeps a dozen more, and goes through all of them backward. Here a
row of the blurred maps lies in the nearest cache while its similarities are computed. Images are flat float32 arrays
[images, height, row], where a row holds the channels of its pixels side by side and is a multiple of sixteen values. Sums
are in an order that does not depend on the number of threads.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import numpy as np

from gvf.compiled.kernels import kernel
from gvf.compiled.simd import LANES, add_lanes, divide, fma, load, load_one, splat, store, take_next

BAND = 16  # rows of a work item


@kernel
def ssim_forward(counter, x, y, weights, constants, shape, sums, slopes):
    """Write the sum of similarities of every band of rows, and the slopes of each similarity.

    weights: the window along one axis; outside the images it sees zeros. constants: C1, C2. shape: images, height, row,
    channels. sums: [images, bands]. slopes: [3, images, height, row], by the blurred x, x x + y y, and x y; or empty.
    """
    images, height, row, channels = shape
    c1, c2 = constants
    bands = (height + BAND - 1) // BAND
    reach = len(weights) // 2
    margin = reach * channels
    span = row + 2 * margin
    line = np.zeros(4 * span, np.float32)
    while True:
        item = take_next(counter)
        if item >= images * bands:
            return
        image, band = item // bands, item % bands
        total = splat(0.0)
        for r in range(band * BAND, min((band + 1) * BAND, height)):
            low, high = max(0, r - reach), min(height, r + reach + 1)
            for j in range(0, row, LANES):
                mean_x = mean_y = squares = product = splat(0.0)
                for k in range(low, high):
                    at = (image * height + k) * row + j
                    weight = load_one(weights, k - r + reach)
                    left, right = load(x, at), load(y, at)
                    of_left, of_right = weight * left, weight * right
                    mean_x, mean_y = mean_x + of_left, mean_y + of_right
                    squares = fma(of_left, left, fma(of_right, right, squares))
                    product = fma(of_left, right, product)
                store(line, margin + j, mean_x)
                store(line, span + margin + j, mean_y)
                store(line, 2 * span + margin + j, squares)
                store(line, 3 * span + margin + j, product)
            for j in range(0, row, LANES):
                mean_x = mean_y = squares = product = splat(0.0)
                for k in range(len(weights)):
                    weight, at = load_one(weights, k), j + k * channels
                    mean_x = fma(weight, load(line, at), mean_x)
                    mean_y = fma(weight, load(line, span + at), mean_y)
                    squares = fma(weight, load(line, 2 * span + at), squares)
                    product = fma(weight, load(line, 3 * span + at), product)
                both, means = mean_x * mean_y, fma(mean_x, mean_x, mean_y * mean_y)
                luminance, contrast = fma(both, 2.0, splat(c1)), fma(product - both, 2.0, splat(c2))
                of_means, of_variances = means + c1, squares - means + c2
                inverse = divide(1.0, of_means * of_variances)
                similarity = luminance * contrast * inverse
                total = total + similarity
                if len(slopes):
                    at = (image * height + r) * row + j
                    size = images * height * row
                    spread = (of_variances - of_means) * inverse  # 1 / of_means - 1 / of_variances
                    by_mean = mean_y * (contrast - luminance) * inverse - mean_x * similarity * spread
                    store(slopes, at, by_mean * 2.0)
                    store(slopes, size + at, similarity * of_means * inverse * -1.0)
                    store(slopes, 2 * size + at, luminance * inverse * 2.0)
        sums[item] = add_lanes(total)


@kernel
def ssim_backward(counter, x, y, slopes, weights, factors, shape, gradient):
    """Write the gradient of x: the window's transpose is the window, so that the slopes are blurred as the maps were.

    slopes, weights, shape: of `ssim_forward`. factors: [images], on the similarities of an image's pixels.
    """
    images, height, row, channels = shape
    size = images * height * row
    bands = (height + BAND - 1) // BAND
    reach = len(weights) // 2
    margin = reach * channels
    span = row + 2 * margin
    line = np.zeros(3 * span, np.float32)
    while True:
        item = take_next(counter)
        if item >= images * bands:
            return
        image, band = item // bands, item % bands
        for r in range(band * BAND, min((band + 1) * BAND, height)):
            low, high = max(0, r - reach), min(height, r + reach + 1)
            for j in range(0, row, LANES):
                by_mean = by_squares = by_product = splat(0.0)
                for k in range(low, high):
                    at = (image * height + k) * row + j
                    weight = load_one(weights, k - r + reach)
                    by_mean = fma(weight, load(slopes, at), by_mean)
                    by_squares = fma(weight, load(slopes, size + at), by_squares)
                    by_product = fma(weight, load(slopes, 2 * size + at), by_product)
                store(line, margin + j, by_mean)
                store(line, span + margin + j, by_squares)
                store(line, 2 * span + margin + j, by_product)
            for j in range(0, row, LANES):
                by_mean = by_squares = by_product = splat(0.0)
                for k in range(len(weights)):
                    weight, at = load_one(weights, k), j + k * channels
                    by_mean = fma(weight, load(line, at), by_mean)
                    by_squares = fma(weight, load(line, span + at), by_squares)
                    by_product = fma(weight, load(line, 2 * span + at), by_product)
                at = (image * height + r) * row + j
                both = fma(load(x, at) * 2.0, by_squares, fma(load(y, at), by_product, by_mean))
                store(gradient, at, both * load_one(factors, image))
