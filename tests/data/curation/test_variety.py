"""The most varied clips of an asset."""

from __future__ import annotations

import numpy as np

from gvf.data.curation.variety import most_varied, motion_descriptor

POSE = np.random.default_rng(0).random((200, 3))


def _moved(direction: tuple[float, float, float], num_frames: int = 8) -> np.ndarray:
    """POSE sliding along `direction` at constant speed, [T, 200, 3]."""
    return POSE + np.linspace(0.0, 1.0, num_frames)[:, None, None] * np.array(direction)


def test_distances_are_those_of_displacements_and_poses() -> None:
    still, slid = motion_descriptor(_moved((0, 0, 0))), motion_descriptor(_moved((0.7, 0, 0)))
    times = np.arange(1, 8) / 7  # of the frames after the first
    assert np.isclose(np.linalg.norm(slid - still), 0.7 * np.sqrt(np.mean(times**2)), atol=1e-6)
    larger = motion_descriptor(2.0 * _moved((0, 0, 0)))
    chosen = POSE[np.linspace(0, 199, 64).round().astype(int)]
    spread = np.sqrt(np.square(chosen - chosen.mean(axis=0)).sum(axis=1).mean())
    assert np.isclose(np.linalg.norm(larger - still), spread, atol=1e-6)


def test_place_and_number_of_frames_make_no_difference() -> None:
    slid = motion_descriptor(_moved((0.7, 0, 0)))
    assert np.allclose(motion_descriptor(_moved((0.7, 0, 0)) + 5.0), slid, atol=1e-5)
    assert np.allclose(motion_descriptor(_moved((0.7, 0, 0), 15)), slid, atol=1e-5)
    assert motion_descriptor(_moved((0, 0, 0))[:2, :3]).shape == (8 * 3 * 3,)  # fewer frames and vertices than are used


def test_the_farthest_from_those_chosen_comes_next() -> None:
    """On a line: from the one that moves most to the other end, then to the middle of the larger gap."""
    points = [np.array([x]) for x in (0.0, 1.0, 2.0, 6.0, 10.0)]
    motions = [0.1, 0.2, 0.3, 0.2, 0.5]
    assert most_varied(points, motions, 1) == [4]
    assert most_varied(points, motions, 2) == [0, 4]
    assert most_varied(points, motions, 3) == [0, 3, 4]
    assert most_varied(points, motions, 4) == [0, 2, 3, 4]
    assert most_varied(points, motions, 9) == [0, 1, 2, 3, 4]
    same = [np.zeros(2)] * 3
    assert most_varied(same, [1.0, 1.0, 1.0], 2) == [0, 1]
