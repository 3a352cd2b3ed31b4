"""Build mechanisms of rigid parts, moved by their nodes: a crane, a windmill, an engine and a double pendulum."""

from __future__ import annotations

import numpy as np

from gvf.procedural.colors import BLACK, STEEL, WHITE, WOOD, draw_palette, hsv
from gvf.procedural.glb import GlbBuilder
from gvf.procedural.motion import Animator, Array, Motion, around, turned
from gvf.procedural.rig import add_part
from gvf.procedural.shapes import Shape, cone, cylinder, extrude, merge, rounded_box, sphere, torus
from gvf.procedural.textures import checks, stripes

CRANE_GESTURES = ("lift", "sweep", "pick")
WINDMILL_GESTURES = ("spin", "gust", "rock")
ENGINE_GESTURES = ("run", "surge", "rock")
PENDULUM_GESTURES = ("swing", "whip", "settle")


def crane(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a robot arm with two links, a gripper that holds a ball, and a warning lamp that blinks in steps."""
    palette = draw_palette(rng)
    boom, forearm = around(rng, 0.62, 0.15), around(rng, 0.52, 0.15)
    thick, base = around(rng, 0.19, 0.15), around(rng, 0.25, 0.15)

    builder = GlbBuilder()
    hazard = builder.add_material("hazard", texture=builder.add_texture(stripes((0.98, 0.80, 0.10), BLACK, 4, slope=4)))
    plain = builder.add_material("plain")
    root = builder.add_node("crane", rotation=turned("y", rng.uniform(0.2, 0.4)))
    foot = rounded_box((2.2 * base, 0.14, 1.8 * base), 0.03).moved(0.0, 0.07, 0.0)
    add_part(builder, "base", root, [(foot, hazard)])
    cabin = cylinder(0.75 * base, 0.22, 20, top_radius=0.6 * base).moved(0.0, 0.11, 0.0).painted(palette.dark)
    axle = cylinder(0.8 * thick, 1.5 * thick, 14).turned("x", 0.5 * np.pi).moved(0.0, 0.22, 0.0).painted(STEEL)
    turret = add_part(builder, "turret", root, [(merge([cabin, axle]), plain)], (0.0, 0.14, 0.0))
    lamp_shape = sphere(0.06, 8, 10).painted((1.0, 0.35, 0.1))
    lamp = add_part(builder, "lamp", turret, [(lamp_shape, plain)], (-0.5 * base, 0.26, 0.2 * base))
    first = (
        rounded_box((thick, boom + thick, 0.9 * thick), 0.3 * thick).moved(0.0, 0.5 * boom, 0.0).painted(palette.main)
    )
    elbow = cylinder(0.6 * thick, 1.3 * thick, 14).turned("x", 0.5 * np.pi).moved(0.0, boom, 0.0).painted(STEEL)
    lower = add_part(builder, "boom", turret, [(merge([first, elbow]), plain)], (0.0, 0.22, 0.0))
    second = rounded_box((0.75 * thick, forearm, 0.7 * thick), 0.2 * thick).moved(0.0, 0.5 * forearm, 0.0)
    upper = add_part(builder, "forearm", lower, [(second.painted(palette.accent), plain)], (0.0, boom, 0.0))
    palm = cylinder(0.5 * thick, 0.5 * thick, 14).painted(STEEL)
    load = sphere(0.85 * thick, 12, 16).moved(0.0, 1.0 * thick, 0.0)
    load_texture = builder.add_texture(checks(palette.pale, palette.accent, 3, 3))
    parts = [(palm, plain), (load, builder.add_material("load", texture=load_texture))]
    hand = add_part(builder, "hand", upper, parts, (0.0, forearm, 0.0))
    finger = (
        rounded_box((0.25 * thick, 1.7 * thick, 0.5 * thick), 0.08 * thick)
        .moved(0.0, 0.85 * thick, 0.0)
        .painted(palette.dark)
    )
    fingers = [
        (side, add_part(builder, f"finger {index}", hand, [(finger, plain)], (side * 0.6 * thick, 0.1 * thick, 0.0)))
        for index, side in enumerate((-1.0, 1.0))
    ]

    animate = Animator(builder, motion, keys=13, mode="CUBICSPLINE")
    time = animate.time
    sway, pulse = motion.sway(time), motion.pulse(time)
    yaw, lean, bend, grip = 0.1 * sway, np.full_like(time, -0.35), np.full_like(time, -1.25), 0.1 * pulse
    if motion.gesture == "lift":
        lean, bend = lean + 0.4 * sway, bend + 0.5 * motion.sway(time, 0.08)
    elif motion.gesture == "sweep":
        yaw, lean, bend = -0.5 + 1.0 * sway, lean + 0.12 * sway, bend + 0.15 * pulse
    else:
        lean, bend, grip = lean - 0.45 * pulse, bend - (0.35 + 0.15 * motion.style) * pulse, 0.6 * pulse
    animate.rotate(turret, ("y", yaw))
    animate.rotate(lower, ("z", lean))
    animate.rotate(upper, ("z", bend))
    animate.rotate(hand, ("z", -0.4 * (bend + 1.25)))
    for side, node in fingers:
        animate.rotate(node, ("z", side * (0.15 - grip)), mode="LINEAR")
    lit = 0.75 + 0.35 * np.sign(np.sin(4.0 * motion.angle(time) + 0.3))
    animate.scale(lamp, lit, lit, lit, mode="STEP")
    return builder.to_bytes(motion.gesture)


def windmill(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a slender tower with a turning cap and sails of different colours."""
    palette = draw_palette(rng)
    height, width = around(rng, 0.75, 0.15), around(rng, 0.14, 0.15)
    blade, chord = around(rng, 0.52, 0.15), around(rng, 0.18)
    count = int(rng.integers(3, 6))

    builder = GlbBuilder()
    bricks = builder.add_material("bricks", texture=builder.add_texture(checks(palette.pale, palette.main, 5, 5)))
    plain = builder.add_material("plain")
    root = builder.add_node("windmill", rotation=turned("y", rng.uniform(0.25, 0.5)))
    tower = cylinder(1.25 * width, height, 20, top_radius=0.75 * width).moved(0.0, 0.5 * height, 0.0)
    door = (
        rounded_box((0.6 * width, 0.25 * height, 0.1), 0.02)
        .moved(0.0, 0.13 * height, 1.1 * width)
        .painted(palette.dark)
    )
    ground = cylinder(1.8 * width, 0.06, 20).painted(hsv(0.33, 0.55, 0.55))
    add_part(builder, "tower", root, [(tower, bricks), (merge([door, ground]), plain)])
    roof = merge([cone(1.0 * width, 1.1 * width, 18), cylinder(1.0 * width, 0.06, 18)]).painted(palette.dark)
    cap = add_part(builder, "cap", root, [(roof, plain)], (0.0, height, 0.0))
    colors = (palette.accent, WHITE, palette.main, hsv(rng.random(), 0.8, 0.9), palette.dark)
    sail = rounded_box((chord, 0.82 * blade, 0.045), 0.015).moved(0.35 * chord, 0.57 * blade, 0.0)
    spar = rounded_box((0.045, blade, 0.05), 0.015).moved(0.0, 0.5 * blade, 0.0).painted(WOOD)
    sails = [
        merge([sail.painted(colors[index]), spar]).turned("y", 0.25).turned("z", 2.0 * np.pi * index / count)
        for index in range(count)
    ]
    hub = merge([sphere(0.075, 10, 14), cylinder(0.04, 0.2, 10).turned("x", 0.5 * np.pi).moved(0.0, 0.0, -0.1)])
    rotor_parts = [(merge([*sails, hub.painted(palette.accent)]), plain)]
    rotor = add_part(builder, "rotor", cap, rotor_parts, (0.0, 0.25 * width, 1.05 * width + 0.06))

    animate = Animator(builder, motion, keys=25)
    time = animate.time
    sway = motion.sway(time)
    if motion.gesture == "spin":
        angle, yaw = 1.5 * motion.amplitude * motion.direction * motion.cycles * time, np.zeros_like(time)
    elif motion.gesture == "gust":
        angle, yaw = 1.4 * motion.ramp(time), (0.3 + 0.1 * motion.style) * motion.pulse(time)
    else:
        angle, yaw = 0.8 * sway, 0.35 * motion.sway(time, 0.1)
    animate.rotate(rotor, ("z", rng.uniform(0.0, 2.0 * np.pi / count) + angle))
    animate.rotate(cap, ("y", yaw), mode="CUBICSPLINE")
    return builder.to_bytes(motion.gesture)


def gear(teeth: int, radius: float, depth: float) -> Shape:
    """Build a toothed wheel facing +z. radius: to the middle of its teeth."""
    tooth = 0.9 * np.pi * radius / teeth
    steps = np.arange(4 * teeth)
    angles = 2.0 * np.pi * (steps + 0.2 * np.array([1.0, -1.0, 1.0, -1.0])[steps % 4]) / (4 * teeth)
    radii = radius + 0.5 * tooth * np.array([1.0, 1.0, -1.0, -1.0])[steps % 4]
    return extrude(np.column_stack([radii * np.cos(angles), radii * np.sin(angles)]), depth)


def engine(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a slider crank: a toothed flywheel drives a piston through a rod, and a small wheel meshes with it."""
    palette = draw_palette(rng)
    wheel, stroke = around(rng, 0.30, 0.15), around(rng, 0.19, 0.12)
    rod, bore = around(rng, 0.58, 0.1), around(rng, 0.36, 0.2)
    teeth, small_teeth = 14, int(rng.integers(7, 10))
    small = wheel * small_teeth / teeth

    builder = GlbBuilder()
    metal = builder.add_material("piston", texture=builder.add_texture(stripes(palette.pale, palette.accent, 3)))
    plain = builder.add_material("plain")
    root = builder.add_node("engine", rotation=turned("y", rng.uniform(-0.45, -0.25)))
    top = stroke + rod + 0.22
    post = rounded_box((0.06, top + wheel, 0.06), 0.02)
    frame = merge(
        [
            *(post.moved(side * (0.5 * bore + 0.06), 0.5 * (top - wheel), -0.14) for side in (-1.0, 1.0)),
            rounded_box((2.0 * bore + small, 0.09, 0.5), 0.03).moved(0.5 * small, -wheel - 0.08, 0.0),
        ]
    )
    add_part(builder, "frame", root, [(frame.painted(palette.dark), plain)])
    boss = sphere(0.2 * wheel, 8, 12).scaled(1.0, 1.0, 0.4).moved(0.0, 0.62 * wheel, 0.06)
    marks = merge([boss.turned("z", 2.0 + 1.2 * i).painted(c) for i, c in enumerate((WHITE, palette.accent, BLACK))])
    pin = cylinder(0.05, 0.2, 12).turned("x", 0.5 * np.pi).moved(0.0, stroke, 0.12).painted(STEEL)
    wheel_shape = merge([gear(teeth, wheel, 0.1).painted(palette.main), marks, pin])
    crank = add_part(builder, "flywheel", root, [(wheel_shape, plain)])
    pinion_shape = merge(
        [
            gear(small_teeth, small, 0.1).painted(palette.accent),
            sphere(0.25 * small, 8, 12).moved(0.0, 0.6 * small, 0.05).painted(WHITE),
        ]
    )
    pinion = add_part(builder, "pinion", root, [(pinion_shape, plain)], (wheel + small, 0.0, 0.0))
    bar = rounded_box((0.09, rod, 0.05), 0.02).moved(0.0, 0.5 * rod, 0.0)
    eyes = [torus(0.065, 0.03, 14, 6).turned("x", 0.5 * np.pi).moved(0.0, y, 0.0) for y in (0.0, rod)]
    link = add_part(builder, "rod", root, [(merge([bar, *eyes]).painted(STEEL), plain)])
    piston = add_part(builder, "piston", root, [(rounded_box((bore, 0.26, bore), 0.05), metal)])

    animate = Animator(builder, motion, keys=33)
    angle = _shaft_angle(motion, animate.time)
    tilt = np.arcsin(stroke * np.sin(angle) / rod)
    height = stroke * np.cos(angle) + rod * np.cos(tilt)
    animate.rotate(crank, ("z", angle))
    animate.rotate(pinion, ("z", np.pi / small_teeth - angle * teeth / small_teeth))
    animate.move(link, (0.0, 0.0, 0.18), x=-stroke * np.sin(angle), y=stroke * np.cos(angle))
    animate.rotate(link, ("z", -tilt))
    animate.move(piston, (0.0, 0.1, 0.05), y=height)
    return builder.to_bytes(motion.gesture)


def _shaft_angle(motion: Motion, time: Array) -> Array:
    if motion.gesture == "run":
        return motion.direction * np.pi * motion.cycles * motion.amplitude * time
    if motion.gesture == "surge":
        return 0.9 * np.pi * motion.ramp(time)
    return 1.1 * motion.sway(time)


def pendulum(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build two links with balls below a stand; a hand on the stand's dial ticks in steps."""
    palette = draw_palette(rng)
    first, second = around(rng, 0.40, 0.15), around(rng, 0.36, 0.15)
    middle, bob = around(rng, 0.11, 0.15), around(rng, 0.19, 0.15)
    height = first + second + bob + 0.1

    builder = GlbBuilder()
    pattern = (
        stripes(palette.main, palette.accent, 4, vertical=True, slope=1)
        if rng.random() < 0.5
        else checks(palette.main, palette.accent, 4, 3)
    )
    striped = builder.add_material("bob", texture=builder.add_texture(pattern))
    plain = builder.add_material("plain")
    root = builder.add_node("pendulum", rotation=turned("y", rng.uniform(0.1, 0.35)))
    stand = merge(
        [
            rounded_box((0.06, height, 0.06), 0.02).moved(0.0, -0.5 * height, -0.28),
            rounded_box((0.06, 0.06, 0.4), 0.02).moved(0.0, 0.0, -0.14),
            rounded_box((0.5, 0.06, 0.3), 0.02).moved(0.0, -height, -0.22),
        ]
    ).painted(WOOD)
    dial = cylinder(0.12, 0.05, 18).turned("x", 0.5 * np.pi).moved(0.0, 0.0, 0.07).painted(palette.pale)
    add_part(builder, "stand", root, [(merge([stand, dial]), plain)])
    pointer = rounded_box((0.03, 0.11, 0.03), 0.01).moved(0.0, 0.045, 0.0).painted(BLACK)
    hand = add_part(builder, "hand", root, [(pointer, plain)], (0.0, 0.0, 0.11))
    rod = cylinder(0.028, 1.0, 10).moved(0.0, -0.5, 0.0).painted(STEEL)
    upper_parts = [
        (
            merge(
                [rod.scaled(1.0, first, 1.0), sphere(middle, 12, 16).moved(0.0, -first, 0.0).painted(palette.accent)]
            ),
            plain,
        )
    ]
    upper = add_part(builder, "upper link", root, upper_parts)
    weight = sphere(bob, 14, 20).moved(0.0, -second, 0.0)
    lower = add_part(
        builder, "lower link", upper, [(rod.scaled(1.0, second, 1.0), plain), (weight, striped)], (0.0, -first, 0.0)
    )

    animate = Animator(builder, motion, keys=13, mode="CUBICSPLINE")
    time = animate.time
    sway, late = motion.sway(time), motion.sway(time, 0.06)
    if motion.gesture == "swing":
        angles = 0.5 * sway, 0.25 * late
    elif motion.gesture == "whip":
        angles = 0.25 * sway, 0.9 * motion.sway(time, 0.15)
    else:
        angles = 0.75 * np.exp(-1.2 * time) * sway, 0.4 * np.exp(-1.2 * time) * late
    animate.rotate(upper, ("z", angles[0]))
    animate.rotate(lower, ("z", angles[1]))
    animate.rotate(hand, ("z", -np.pi / 6.0 * np.floor(12.0 * time + 1e-2)), mode="STEP")
    return builder.to_bytes(motion.gesture)
