"""Motions cover their range evenly; quaternions and cubic tangents against SciPy; bone weights are smooth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline
from scipy.spatial.transform import Rotation

from gvf.procedural.glb import GlbBuilder
from gvf.procedural.motion import Animator, Motion, axis_angle, compose, draw_motion, smoothstep
from gvf.procedural.rig import Rig, add_part, bone_weights, morph_mesh
from gvf.procedural.shapes import sphere, tube
from tests.procedural.glb_oracle import Glb

MOTION = Motion("wave", amplitude=0.8, cycles=1.3, direction=-1.0, style=0.2, duration=1.7)


def test_drawn_motions_stay_in_range_and_fill_it() -> None:
    motions = [draw_motion(np.full(5, 0.3), index, ("a", "b")) for index in range(64)]
    assert {motion.gesture for motion in motions[::2]} == {"a"}
    assert sum(motion.direction > 0.0 for motion in motions) == pytest.approx(32, abs=3)
    for name, low, high in (
        ("amplitude", 0.75, 1.25),
        ("cycles", 0.7, 1.6),
        ("style", -1.0, 1.0),
        ("duration", 0.8, 2.4),
    ):
        values = np.array([getattr(motion, name) for motion in motions[::2]])
        counts, _ = np.histogram(values, bins=4, range=(low, high))
        assert counts.sum() == 32
        assert counts.min() >= 5, name  # 8 each if perfectly even


def test_curves_start_where_they_say() -> None:
    time = np.linspace(0.0, 1.0, 201)
    for curve in (MOTION.sway, MOTION.pulse, MOTION.bob, MOTION.ramp):
        assert curve(time)[0] == 0.0
        assert np.abs(curve(time)).max() == pytest.approx(MOTION.amplitude, rel=0.01)
    assert MOTION.sway(time)[1] < 0.0
    np.testing.assert_allclose(MOTION.lift(time, 1.0) + MOTION.lift(time, -1.0), MOTION.amplitude)
    np.testing.assert_array_equal(smoothstep(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])), [0.0, 0.0, 0.5, 1.0, 1.0])


def test_quaternion_products_against_scipy() -> None:
    angles = np.linspace(-2.0, 2.0, 9)
    ours = compose(axis_angle("y", angles), axis_angle((0.6, 0.0, 0.8), 0.5 * angles))
    turns = Rotation.from_rotvec(np.outer(angles, [0.0, 1.0, 0.0]))
    expected = turns * Rotation.from_rotvec(np.outer(0.5 * angles, [0.6, 0.0, 0.8]))
    np.testing.assert_allclose(Rotation.from_quat(ours).as_matrix(), expected.as_matrix(), atol=1e-12)


def test_cubic_tangents_follow_the_curve_between_keys() -> None:
    builder = GlbBuilder()
    plain = builder.add_material("plain")
    node = add_part(builder, "ball", builder.add_node("root"), [(sphere(), plain)])
    animate = Animator(builder, MOTION, keys=13, mode="CUBICSPLINE")
    animate.move(node, (1.0, 2.0, 3.0), y=MOTION.sway(animate.time))
    glb = Glb(builder.to_bytes("wave"))
    sampler = glb.document["animations"][0]["samplers"][0]
    times = glb.array(sampler["input"])[:, 0].astype(np.float64)
    before, values, after = glb.array(sampler["output"]).astype(np.float64).reshape(13, 3, 3).transpose(1, 0, 2)
    np.testing.assert_array_equal(before, after)
    assert times[0] == 0.0
    assert times[-1] == pytest.approx(MOTION.duration)
    between = np.linspace(0.0, times[-1], 50)
    spline = CubicHermiteSpline(times, values, after)(between)
    expected = np.array([1.0, 2.0, 3.0]) + np.outer(MOTION.sway(between / MOTION.duration), [0.0, 1.0, 0.0])
    np.testing.assert_allclose(spline, expected, atol=2e-3)  # 13 keys over 1.3 cycles


def test_weights_of_bones() -> None:
    starts, tips = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    points = np.array([[1.0, 0.2, 0.0], [0.2, 0.1, 0.0], [1.8, 0.1, 0.0], [0.95, 0.2, 0.0], [1.05, 0.2, 0.0]])
    weights, slots = bone_weights(points, starts, tips, 0.05)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    per_bone = np.zeros((5, 2))
    for slot in range(4):
        np.add.at(per_bone, (np.arange(5), slots[:, slot]), weights[:, slot])
    np.testing.assert_allclose(per_bone[0], [0.5, 0.5])  # at the joint both bones are equally near
    np.testing.assert_allclose(per_bone[1:3], [[1.0, 0.0], [0.0, 1.0]])
    assert 0.5 < per_bone[3, 0] < 1.0
    np.testing.assert_allclose(per_bone[3], per_bone[4, ::-1])


def test_a_bent_limb_keeps_its_length_and_turns_about_its_joint() -> None:
    builder = GlbBuilder()
    plain = builder.add_material("plain")
    rig = Rig()
    rig.chain(("upper", "lower"), None, [(0.0, 2.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 0.0)])
    rig.attach(tube([(0.0, y, 0.0) for y in np.linspace(2.0, 0.0, 9)], [0.1] * 9), plain, ("upper", "lower"))
    nodes = rig.build(builder, "limb", builder.add_node("root", translation=(5.0, 0.0, 0.0)))
    animate = Animator(builder, MOTION)
    animate.rotate(nodes["lower"], ("z", 0.5 * np.pi * animate.time))
    start, end = Glb(builder.to_bytes("bend")).frames(2)
    assert start[:, 0].mean() == pytest.approx(5.0, abs=0.02)
    foot = start[:, 1] < 0.3
    expected = np.column_stack([6.0 - start[foot, 1], 1.0 + (start[foot, 0] - 5.0), start[foot, 2]])
    np.testing.assert_allclose(end[foot], expected, atol=1e-5)
    np.testing.assert_allclose(end[start[:, 1] > 1.7], start[start[:, 1] > 1.7], atol=1e-6)


def test_morph_targets_reach_the_deformed_shape_and_its_normals() -> None:
    builder = GlbBuilder()
    plain = builder.add_material("plain")
    ball = sphere(1.0, 30, 40)
    mesh = morph_mesh(builder, "ball", [(ball, plain)], [lambda points: points * [2.0, 1.0, 1.0]])
    node = builder.add_node("ball", mesh=mesh)
    animate = Animator(builder, MOTION)
    animate.morph(node, animate.time)
    glb = Glb(builder.to_bytes("grow"))
    _, end = glb.frames(2)
    np.testing.assert_allclose(end, ball.positions * [2.0, 1.0, 1.0], atol=1e-6)
    primitive = glb.document["meshes"][0]["primitives"][0]
    normals = glb.array(primitive["attributes"]["NORMAL"]) + glb.array(primitive["targets"][0]["NORMAL"])
    expected = ball.scaled(2.0, 1.0, 1.0).normals
    np.testing.assert_allclose(normals, expected, atol=0.03)


def test_the_writer_refuses_broken_animations() -> None:
    builder = GlbBuilder()
    node = builder.add_node("root")
    with pytest.raises(AssertionError, match="two keys"):
        builder.add_channel(node, "scale", np.array([0.0]), np.ones((1, 3)), "LINEAR")
    with pytest.raises(AssertionError, match="increase"):
        builder.add_channel(node, "scale", np.array([0.0, 1.0, 1.0]), np.ones((3, 3)), "LINEAR")
    with pytest.raises(AssertionError, match="not finite"):
        builder.add_channel(node, "scale", np.array([0.0, 1.0]), np.full((2, 3), np.nan), "LINEAR")
    with pytest.raises(AssertionError, match="nothing is animated"):
        GlbBuilder().to_bytes("still")
