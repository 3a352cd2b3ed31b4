"""Build creatures that move by their spine or wings, with one smooth skin each: a bird, a fish and a snake."""

from __future__ import annotations

import numpy as np

from gvf.procedural.colors import BLACK, draw_palette, mix
from gvf.procedural.glb import GlbBuilder
from gvf.procedural.motion import Animator, Motion, around, turned
from gvf.procedural.rig import Rig
from gvf.procedural.shapes import cone, eyeball, merge, sphere, tube
from gvf.procedural.textures import checks, spots, stripes

BIRD_GESTURES = ("flap", "bank", "hover")
FISH_GESTURES = ("swim", "turn", "leap")
SNAKE_GESTURES = ("sway", "strike", "dance")

_SIDES = (("right", -1.0), ("left", 1.0))
_SPINE = 6  # joints of a fish
_NECK = 8  # joints of a snake's upright part


def bird(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a round bird with broad wings of three joints each."""
    palette = draw_palette(rng)
    size, span, chord = around(rng, 0.24, 0.15), around(rng, 0.55), around(rng, 0.19)
    skull = np.array([0.0, 0.75 * size, 0.95 * size])

    rig = Rig()
    rig.joint("body", None, (0.0, 0.0, 0.0))
    rig.joint("head", "body", (0.0, 0.4 * size, 0.7 * size), skull)
    rig.joint("tail", "body", (0.0, 0.0, -1.1 * size), (0.0, 0.0, -2.3 * size))
    builder = GlbBuilder()
    dotted = rng.random() < 0.5
    pattern = spots(rng, palette.main, palette.pale, 12, 0.07) if dotted else stripes(palette.main, palette.pale, 6)
    plumage = builder.add_material("plumage", texture=builder.add_texture(pattern))
    plain = builder.add_material("plain")

    body = tube([(0.0, 0.0, z * size) for z in (-0.9, -0.4, 0.1, 0.6)], size * np.array([0.5, 0.85, 0.95, 0.7]), 18)
    rig.attach(body, plumage, ("body",))
    beak = cone(0.26 * size, around(rng, 0.65 * size), 10).turned("x", 0.5 * np.pi).moved(0.0, -0.05 * size, 0.5 * size)
    eyes = [eyeball(0.18 * size).moved(side * 0.33 * size, 0.18 * size, 0.45 * size) for side in (-1.0, 1.0)]
    head = merge([sphere(0.62 * size, 10, 14).painted(palette.main), beak.painted(palette.accent), *eyes])
    rig.attach(head.moved(*skull), plain, ("head",))
    fan = tube([(0.0, 0.0, -1.1 * size), (0.0, 0.02, -1.7 * size), (0.0, 0.04, -2.3 * size)],
               size * np.array([[0.35, 0.14], [0.6, 0.1], [0.85, 0.08]]), 12, up=(0.0, 1.0, 0.0))  # fmt: skip
    rig.attach(fan.painted(palette.dark, palette.accent, axis=2), plain, ("tail",))
    for name, side in _SIDES:
        spread = np.linspace(0.0, 1.0, 9)
        path = np.column_stack(
            [
                side * (0.5 * size + span * spread),
                0.25 * size + 0.05 * np.sin(np.pi * spread),
                -0.35 * chord * spread**2,
            ]
        )
        width = chord * np.interp(spread, [0.0, 0.35, 0.75, 1.0], [0.85, 1.1, 0.85, 0.3])
        wing = tube(path, np.column_stack([0.16 * chord * (1.0 - 0.6 * spread), width]), 12)
        joints = tuple(f"{part} {name}" for part in ("shoulder", "elbow", "wrist"))
        rig.chain(joints, "body", path[[0, 3, 6, 8]])
        shade = (
            wing.painted(palette.accent, palette.dark, axis=0)
            if side > 0.0
            else wing.painted(palette.dark, palette.accent, axis=0)
        )
        rig.attach(shade, plain, joints, 0.1 * span)

    heading = builder.add_node("bird", rotation=turned("y", rng.uniform(0.2, 0.4)))
    root = builder.add_node("pitch", heading, rotation=turned("x", -0.55))  # up, so that the wings show their area
    nodes = rig.build(builder, "bird skin", root)
    animate = Animator(builder, motion, keys=17, mode="CUBICSPLINE")
    time = animate.time
    sway, pulse, late = motion.sway(time), motion.pulse(time), motion.sway(time, 0.1)
    if motion.gesture == "flap":
        animate.move(nodes["body"], rig.rest("body"), y=-0.08 * late)
        animate.rotate(nodes["body"], ("x", -0.1 * sway))
        for name, side in _SIDES:
            animate.rotate(nodes["shoulder " + name], ("z", side * 0.75 * sway))
            animate.rotate(nodes["elbow " + name], ("z", side * 0.35 * late))
            animate.rotate(nodes["wrist " + name], ("z", side * 0.3 * late))
    elif motion.gesture == "bank":
        animate.move(nodes["body"], rig.rest("body"), x=0.1 * sway)
        animate.rotate(nodes["body"], ("z", -0.6 * sway), ("y", 0.25 * sway))
        for name, side in _SIDES:
            animate.rotate(nodes["elbow " + name], ("z", 0.35 * sway + side * 0.2 * pulse))
    else:
        animate.move(nodes["body"], rig.rest("body"), y=0.12 * pulse)
        animate.rotate(nodes["body"], ("x", -0.3 * motion.amplitude))
        for name, side in _SIDES:
            animate.rotate(nodes["shoulder " + name], ("y", side * 0.85 * sway), ("z", side * 0.4 * pulse))
            animate.rotate(nodes["elbow " + name], ("y", side * 0.3 * late))
    animate.rotate(nodes["head"], ("x", 0.3 * sway), ("y", 0.4 * motion.style * pulse), mode="LINEAR")
    animate.rotate(nodes["tail"], ("x", 0.4 * sway), mode="LINEAR")
    return builder.to_bytes(motion.gesture)


def fish(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a tall fish with a spine of six joints, turned so that its side shows."""
    palette = draw_palette(rng)
    length, height, width = around(rng, 1.0, 0.15), around(rng, 0.23), around(rng, 0.13)
    fin = around(rng, 0.20)

    rig = Rig()
    spine = np.column_stack([np.zeros(_SPINE + 1), np.zeros(_SPINE + 1), np.linspace(0.3, -0.7, _SPINE + 1) * length])
    joints = [f"spine {index}" for index in range(_SPINE)]
    rig.chain(joints, None, spine)
    builder = GlbBuilder()
    pattern = (
        lambda: stripes(palette.main, palette.accent, 5),
        lambda: spots(rng, palette.main, palette.pale, 10, 0.08),
        lambda: checks(palette.main, mix(palette.main, palette.accent, 0.5), 6, 8),
    )[rng.integers(3)]()
    scales = builder.add_material("scales", texture=builder.add_texture(pattern))
    plain = builder.add_material("fins")

    along = np.linspace(0.42, -0.5, 12)
    thick = np.interp(along, [-0.5, -0.35, -0.1, 0.15, 0.35, 0.42], [0.16, 0.35, 0.85, 1.0, 0.72, 0.45])
    path = np.column_stack([np.zeros(12), np.zeros(12), along * length])
    body = tube(path, np.column_stack([width * thick, height * thick]), 18, up=(0.0, 1.0, 0.0))
    rig.attach(body, scales, joints, 0.1 * length)
    tail = tube([(0.0, 0.0, z * length) for z in (-0.45, -0.55, -0.66)],
                fin * np.array([[0.12, 0.3], [0.1, 0.8], [0.08, 1.3]]), 10, up=(0.0, 1.0, 0.0))  # fmt: skip
    rig.attach(tail.painted(palette.accent, palette.dark, axis=2), plain, joints[-3:], 0.08)
    ridge = [(0.0, 0.9 * height, 0.18 * length), (0.0, 1.15 * height, -0.02), (0.0, 0.95 * height, -0.2 * length)]
    dorsal = tube(ridge,
                  fin * np.array([[0.1, 0.2], [0.08, 0.5], [0.06, 0.25]]), 8, up=(0.0, 1.0, 0.0))  # fmt: skip
    rig.attach(dorsal.painted(palette.accent), plain, joints[:4], 0.08)
    eyes = [
        eyeball(0.22 * height).turned("y", side * 1.1).moved(side * 0.72 * width, 0.25 * height, 0.33 * length)
        for side in (-1.0, 1.0)
    ]
    mouth = (
        sphere(0.16 * height, 6, 10)
        .scaled(1.2, 0.6, 1.0)
        .moved(0.0, -0.15 * height, 0.46 * length)
        .painted(palette.dark)
    )
    rig.attach(merge([*eyes, mouth]), plain, joints[:1])
    for name, side in _SIDES:
        start = np.array([side * 0.8 * width, -0.2 * height, 0.18 * length])
        end = start + fin * np.array([side * 0.8, -0.5, -0.9])
        rig.joint("fin " + name, joints[0], start, end)
        shape = tube(
            [start, 0.5 * (start + end), end],
            fin * np.array([[0.1, 0.2], [0.1, 0.4], [0.08, 0.45]]),
            8,
            up=(0.0, 1.0, 0.0),
        )
        rig.attach(shape.painted(palette.accent), plain, ("fin " + name,))

    root = builder.add_node("fish", rotation=turned("y", rng.uniform(0.85, 1.05)))
    nodes = rig.build(builder, "fish skin", root)
    animate = Animator(builder, motion, keys=25)
    time = animate.time
    sway, pulse = motion.sway(time), motion.pulse(time)
    for name, side in _SIDES:
        animate.rotate(nodes["fin " + name], ("z", side * 0.6 * sway), ("y", 0.4 * pulse))
    if motion.gesture == "swim":
        animate.move(nodes["spine 0"], rig.rest("spine 0"), x=0.06 * motion.sway(time, 0.5))
    elif motion.gesture == "turn":
        animate.move(nodes["spine 0"], rig.rest("spine 0"), y=0.08 * pulse)
    else:
        animate.move(nodes["spine 0"], rig.rest("spine 0"), y=0.12 * pulse)
    for index in range(_SPINE):
        reach = (index + 1) / _SPINE  # how far towards the tail
        if motion.gesture == "swim":
            bend = -0.2 * sway if index == 0 else (0.08 + 0.2 * reach) * motion.sway(time, 0.25 * reach)
            animate.rotate(nodes[joints[index]], ("y", bend))
        elif motion.gesture == "turn":
            bend = 0.35 * sway if index == 0 else -0.18 * motion.sway(time, 0.08 * index)
            animate.rotate(nodes[joints[index]], ("y", bend))
        else:
            bend = -0.35 * sway if index == 0 else 0.18 * motion.sway(time, 0.1 * index)
            animate.rotate(nodes[joints[index]], ("x", bend))
    return builder.to_bytes(motion.gesture)


def snake(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a snake that rears up out of its coil."""
    palette = draw_palette(rng)
    height, thick, coil = around(rng, 0.85, 0.15), around(rng, 0.075), around(rng, 0.24, 0.15)
    hood = around(rng, 0.16, 0.25)

    rig = Rig()
    turns = np.linspace(0.0, 1.0, 40)
    angle = 2.0 * np.pi * (around(rng, 1.35, 0.1) * (1.0 - turns)) - 0.5 * np.pi
    radius = coil * (1.0 - 0.35 * turns)
    ground = np.column_stack([radius * np.cos(angle), thick * (1.0 + 1.6 * turns), radius * np.sin(angle)])
    levels = np.linspace(0.0, 1.0, _NECK + 1)
    lean = 0.10 * np.sin(np.pi * levels)
    upright = np.column_stack(
        [0.0 * levels, ground[-1, 1] + 0.05 + height * levels, ground[-1, 2] + 0.10 + lean - 0.12]
    )
    joints = [f"neck {index}" for index in range(_NECK)]
    rig.joint("coil", None, (0.0, 0.0, 0.0))
    rig.chain(joints, "coil", upright)
    builder = GlbBuilder()
    banded = rng.random() < 0.6
    pattern = stripes(palette.main, palette.accent, 8) if banded else checks(palette.main, palette.dark, 3, 12)
    scales = builder.add_material("scales", texture=builder.add_texture(pattern))
    plain = builder.add_material("plain")

    tail = tube(ground, thick * np.interp(turns, [0.0, 0.3, 1.0], [0.25, 0.9, 1.15]), 10, up=(0.0, 1.0, 0.0))
    rig.attach(tail, scales, ("coil",))
    fine = np.linspace(0.0, 1.0, 25)
    path = np.column_stack([np.interp(fine, levels, upright[:, axis]) for axis in range(3)])
    across = thick * np.interp(fine, [0.0, 0.2, 1.0], [1.15, 1.0, 0.85])
    flare = across + (hood - across) * np.exp(-(((fine - 0.78) / 0.14) ** 2))
    neck = tube(path, np.column_stack([flare, across]), 14)
    rig.attach(neck, scales, ("coil", *joints), 0.08 * height)
    skull = upright[-1] + [0.0, 0.02, 0.02]
    snout = (
        sphere(1.0, 10, 14)
        .scaled(0.10, 0.075, 0.14)
        .moved(0.0, 0.0, 0.06)
        .painted(mix(palette.main, palette.pale, 0.25))
    )
    eyes = [eyeball(0.035).moved(side * 0.062, 0.045, 0.115) for side in (-1.0, 1.0)]
    tongue = tube([(0.0, -0.03, 0.18), (0.0, -0.035, 0.24), (0.0, -0.06, 0.28)], [0.012, 0.01, 0.008], 6).painted(
        (0.85, 0.1, 0.15)
    )
    nostrils = [sphere(0.012, 5, 6).moved(side * 0.03, 0.02, 0.195).painted(BLACK) for side in (-1.0, 1.0)]
    rig.attach(merge([snout, *eyes, tongue, *nostrils]).moved(*skull), plain, joints[-1:])

    root = builder.add_node("snake", rotation=turned("y", rng.uniform(0.1, 0.35)))
    nodes = rig.build(builder, "snake skin", root)
    animate = Animator(builder, motion, keys=13, mode="CUBICSPLINE")
    time = animate.time
    sway, pulse = motion.sway(time), motion.pulse(time)
    for index, joint in enumerate(joints):
        level = index / (_NECK - 1)
        if motion.gesture == "sway":
            animate.rotate(nodes[joint], ("z", (0.24 if index < 5 else -0.22) * motion.sway(time, 0.2 * level)))
        elif motion.gesture == "strike":
            bend = 0.26 * pulse if index < 4 else -0.22 * pulse
            animate.rotate(nodes[joint], ("x", bend), ("z", 0.08 * sway))
        else:
            bend = 0.22 * motion.sway(time, 0.6 * level)
            animate.rotate(nodes[joint], ("z", bend), ("y", 0.1 * motion.style * sway))
    return builder.to_bytes(motion.gesture)
