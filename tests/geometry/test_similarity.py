"""Object axes against those of files, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gvf.geometry.similarity import UP_AXES, Similarity, unit_box

FRONT, RIGHT, UP = [0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("up", "front", "above"),
    [("y", [0, 0, 1], [0, 1, 0]), ("z", [0, -1, 0], [0, 0, 1]), ("-y", [0, 0, -1], [0, -1, 0])],
)
def test_front_and_up_in_the_axes_of_files(up: str, front: list[float], above: list[float]) -> None:
    turned = Similarity(1.0, (0.0, 0.0, 0.0), up).apply(np.array([FRONT, UP, RIGHT]))
    np.testing.assert_array_equal(turned, [front, above, RIGHT])
    assert np.linalg.det(turned) == pytest.approx(np.linalg.det([FRONT, UP, RIGHT]))


@pytest.mark.parametrize("up", UP_AXES)
def test_inverse_and_unit_box(up: str) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (20, 3)) * (3.0, 1.0, 2.0) + (100.0, -7.0, 0.5)
    box = unit_box(points, up)
    unit = box.invert(points)
    assert np.ptp(unit, axis=0).max() == pytest.approx(1.0)
    np.testing.assert_allclose(unit.max(axis=0), -unit.min(axis=0), atol=1e-9)
    np.testing.assert_allclose(box.apply(unit), points, atol=1e-9)


def test_turned_to_another_axis() -> None:
    """The same object in a y-up file and in a z-up file, in which (x, y, z) stands as (x, -z, y)."""
    points = np.array([[1.0, 2.0, 3.0], [4.0, 6.0, 3.5]])
    box = unit_box(points, "y")
    np.testing.assert_allclose(
        box.turned("z").apply(box.invert(points)), points[:, [0, 2, 1]] * (1.0, -1.0, 1.0), atol=1e-9
    )


def test_one_place_has_no_box() -> None:
    with pytest.raises(ValueError, match="one place"):
        unit_box(np.ones((3, 3)), "y")
