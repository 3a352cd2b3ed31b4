"""Build soft bodies that change shape by morph targets: a slime, a flower, a ball and a jellyfish."""

from __future__ import annotations

from functools import partial

import numpy as np

from gvf.procedural.colors import draw_palette, hsv, mix
from gvf.procedural.glb import GlbBuilder
from gvf.procedural.motion import Animator, Array, Motion, around, smoothstep, turned
from gvf.procedural.rig import add_part, morph_mesh
from gvf.procedural.shapes import Shape, cone, eyeball, lathe, merge, sphere, tube
from gvf.procedural.textures import checks, face, spots, stripes

SLIME_GESTURES = ("bounce", "wobble", "stretch", "hop")
FLOWER_GESTURES = ("breathe", "sway", "bloom")
BALL_GESTURES = ("bounce", "squeeze", "roll")
JELLYFISH_GESTURES = ("pulse", "drift", "swirl")


def stretched(points: Array, x: float, y: float, z: float) -> Array:
    """Return points [V,3] scaled about the origin."""
    return points * np.array([x, y, z])


def leaning(points: Array, angle: float, start: float, end: float) -> Array:
    """Return points [V,3] bent towards +x between heights `start` and `end`, to first order in `angle`.

    Sections turn by 0 to `angle` radians and stay plane. The bend is linear, so it looks the same for weights of either
    sign.
    """
    length = end - start
    share = np.clip((points[:, 1] - start) / length, 0.0, 1.0)
    above = np.maximum(points[:, 1] - end, 0.0)
    shift = angle * (0.5 * length * share**2 + above)
    return points + np.column_stack([shift, -angle * share * points[:, 0], np.zeros(len(points))])


def slime(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a dome with a face and two horns or a sprout."""
    palette = draw_palette(rng)
    radius, height = around(rng, 0.45, 0.15), around(rng, 0.62, 0.2)
    bulge = rng.uniform(0.9, 1.15)

    builder = GlbBuilder()
    features = face(
        palette.main,
        palette.dark,
        eye=rng.uniform(0.055, 0.085),
        spread=rng.uniform(0.08, 0.12),
        height=rng.uniform(0.34, 0.42),
        smile=rng.uniform(-0.3, 1.0),
        cheek=mix(palette.main, palette.accent, 0.4),
    )
    skin = builder.add_material("skin", texture=builder.add_texture(features), roughness=0.3)
    plain = builder.add_material("plain")
    polar = np.linspace(0.0, 0.5 * np.pi, 12)
    dome = [(float(radius * np.sin(a) ** 0.9 * bulge ** np.sin(2.0 * a)), float(height * np.cos(a))) for a in polar]
    jelly = lathe([*dome, (1.02 * radius, -0.04), (0.85 * radius, -0.07), (0.0, -0.07)], 24)
    if rng.random() < 0.5:
        horn = cone(0.09, around(rng, 0.24), 10)
        top = merge(
            [horn.turned("z", -0.5 * side).moved(side * 0.45 * radius, 0.8 * height, 0.0) for side in (-1.0, 1.0)]
        )
    else:
        stem = tube(
            [(0.0, 0.9 * height, 0.0), (0.02, 1.1 * height, 0.0), (0.0, 1.25 * height, 0.0)], [0.03, 0.025, 0.02], 8
        )
        leaf = sphere(0.13, 8, 10).scaled(1.2, 0.4, 0.7)
        top = merge(
            [stem, *(leaf.turned("z", 0.4 * side).moved(side * 0.13, 1.3 * height, 0.0) for side in (-1.0, 1.0))]
        )
    targets = (
        partial(stretched, x=1.3, y=0.55, z=1.3),
        partial(stretched, x=0.8, y=1.45, z=0.8),
        partial(leaning, angle=0.9, start=0.0, end=height),
    )
    mesh = morph_mesh(builder, "slime", [(jelly, skin), (top.painted(palette.accent), plain)], targets)
    root = builder.add_node("place", rotation=turned("y", rng.uniform(-0.15, 0.15)))
    body = builder.add_node("slime", root, mesh=mesh)

    animate = Animator(builder, motion, keys=13, mode="CUBICSPLINE")
    time = animate.time
    sway, pulse, bob = motion.sway(time), motion.pulse(time), motion.bob(time)
    grounded = motion.amplitude - pulse
    if motion.gesture == "bounce":
        animate.move(body, (0.0, 0.0, 0.0), y=0.2 * pulse)
        animate.morph(body, 0.45 * grounded, 0.5 * bob, 0.0)
    elif motion.gesture == "wobble":
        animate.morph(body, 0.35 * bob, 0.0, 0.75 * sway)
    elif motion.gesture == "stretch":
        animate.morph(body, 0.0, 0.75 * sway, 0.25 * motion.style * sway)
    else:
        animate.move(body, (0.0, 0.0, 0.0), x=0.22 * sway, y=0.17 * bob)
        animate.morph(body, 0.0, 0.5 * bob, -0.4 * motion.sway(time, -0.1))
    return builder.to_bytes(motion.gesture)


def flower(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a potted flower with a face, whose petals fold and whose stem leans."""
    palette = draw_palette(rng)
    stem_top, disc, petal = around(rng, 0.55, 0.15), around(rng, 0.16, 0.15), around(rng, 0.24)
    count = int(rng.integers(5, 9))
    centre = np.array([0.0, stem_top, 0.06])

    def folded(points: Array) -> Array:
        offset = points - centre
        distance = np.hypot(offset[:, 0], offset[:, 1])
        beyond = np.maximum(distance - 0.8 * disc, 0.0)
        scale = np.where(beyond > 0.0, (distance - 0.8 * beyond) / np.maximum(distance, 1e-9), 1.0)
        return centre + np.column_stack([offset[:, 0] * scale, offset[:, 1] * scale, offset[:, 2] + 0.85 * beyond])

    builder = GlbBuilder()
    clay = builder.add_material("pot", texture=builder.add_texture(stripes(hsv(0.05, 0.6, 0.75), palette.pale, 3)))
    features = face(hsv(0.13, 0.75, 0.98), palette.dark, eye=0.05, spread=0.075, height=0.45, smile=0.8)
    front = builder.add_material("face", texture=builder.add_texture(features))
    plain = builder.add_material("plain")
    root = builder.add_node("flower", rotation=turned("y", rng.uniform(-0.25, 0.25)))
    pot = lathe([(0.0, 0.0), (0.15, 0.0), (0.16, -0.03), (0.15, -0.08), (0.11, -0.26), (0.0, -0.26)], 18)
    add_part(builder, "pot", root, [(pot, clay)])
    green = hsv(rng.uniform(0.25, 0.4), 0.65, 0.6)
    stem = tube([(0.0, y * stem_top, 0.0) for y in (0.0, 0.25, 0.5, 0.75, 1.0)], [0.035] * 5, 10)
    leaves = [
        sphere(0.16, 6, 10).scaled(1.0, 0.3, 0.5).turned("z", 0.5 * side).moved(side * 0.16, level * stem_top, 0.0)
        for side, level in ((-1.0, 0.25), (1.0, 0.4))
    ]
    button = sphere(disc, 12, 18).scaled(1.0, 1.0, 0.55).moved(*centre)
    blade = sphere(1.0, 6, 12).scaled(0.5 * petal, 0.62 * petal, 0.035).moved(0.0, 0.75 * disc + 0.5 * petal, 0.0)
    colors = (palette.main, palette.main if rng.random() < 0.5 else palette.accent)
    petals = [
        blade.turned("z", 2.0 * np.pi * index / count)
        .moved(centre[0], centre[1], centre[2] - 0.01)
        .painted(colors[index % 2])
        for index in range(count)
    ]
    stalk = merge([stem, *leaves]).painted(green)
    lean = partial(leaning, angle=0.8, start=0.0, end=stem_top)
    bloom = morph_mesh(builder, "bloom", [(merge(petals), plain), (button, front)], (folded, lean))
    stalk_mesh = morph_mesh(builder, "stalk", [(stalk, plain)], (lean,))
    head, stand = builder.add_node("bloom", root, mesh=bloom), builder.add_node("stalk", root, mesh=stalk_mesh)

    animate = Animator(builder, motion, keys=13, mode="CUBICSPLINE")
    time = animate.time
    sway, pulse = motion.sway(time), motion.pulse(time)
    if motion.gesture == "breathe":
        fold, bend = 1.1 * pulse, 0.35 * sway
    elif motion.gesture == "sway":
        fold, bend = 0.25 * pulse, 0.9 * sway
    else:
        fold = 1.15 * motion.amplitude * (1.0 - smoothstep(time))
        bend = (0.5 + 0.2 * motion.style) * motion.sway(time)
    animate.morph(head, fold, bend)
    animate.morph(stand, bend)
    return builder.to_bytes(motion.gesture)


def ball(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a patterned rubber ball that squashes."""
    palette = draw_palette(rng)
    radius = around(rng, 0.4, 0.2)
    tall = rng.uniform(0.85, 1.15)

    builder = GlbBuilder()
    pattern = (
        lambda: stripes(palette.main, palette.pale, 4, vertical=True),
        lambda: checks(palette.main, palette.accent, 4, 3),
        lambda: spots(rng, palette.main, palette.accent, 12, 0.07),
        lambda: stripes(palette.accent, palette.main, 3, slope=1),
    )[rng.integers(4)]()
    rubber = builder.add_material("rubber", texture=builder.add_texture(pattern))
    shape = sphere(radius, 20, 28).turned("y", rng.uniform(-0.3, 0.3)).scaled(1.0, tall, 1.0)
    targets = (partial(stretched, x=1.3, y=0.6, z=1.3), partial(leaning, angle=0.5, start=-radius, end=radius))
    mesh = morph_mesh(builder, "ball", [(shape, rubber)], targets)
    place = builder.add_node("place")
    body = builder.add_node("ball", place, mesh=mesh)

    animate = Animator(builder, motion, keys=17)
    time = animate.time
    sway, pulse = motion.sway(time), motion.pulse(time)
    if motion.gesture == "bounce":
        animate.move(place, (0.0, 0.0, 0.0), x=0.15 * motion.style * sway, y=0.45 * radius * pulse)
        animate.morph(body, 0.6 * (motion.amplitude - pulse) - 0.3 * motion.bob(time), 0.0)
    elif motion.gesture == "squeeze":
        animate.morph(body, 0.75 * sway, 0.5 * motion.style * pulse)
    else:
        animate.move(place, (0.0, 0.0, 0.0), x=0.45 * radius * sway)
        animate.rotate(body, ("z", -0.45 * sway))
        animate.morph(body, 0.2 * motion.bob(time), 0.0)
    return builder.to_bytes(motion.gesture)


def jellyfish(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a bell with trailing arms."""
    palette = draw_palette(rng)
    radius, height, arm = around(rng, 0.36, 0.15), around(rng, 0.32), around(rng, 0.5)
    count = int(rng.integers(5, 8))

    def closing(points: Array) -> Array:
        down = np.clip(1.0 - points[:, 1] / height, 0.0, 1.0)
        across = 1.0 - 0.5 * down
        hanging = np.minimum(points[:, 1], 0.0)
        lift = 0.12 * height * (1.0 - down) + 0.15 * hanging
        return np.column_stack([points[:, 0] * across, points[:, 1] + lift, points[:, 2] * across])

    def rippling(points: Array, turn: float) -> Array:
        depth = np.clip(-points[:, 1] / arm, 0.0, 1.5)
        return points + np.outer(0.24 * depth * np.sin(2.0 * np.pi * (0.75 * depth + turn)), [1.0, 0.0, 0.25])

    builder = GlbBuilder()
    dotted = rng.random() < 0.5
    pattern = (
        spots(rng, palette.main, palette.pale, 10, 0.07)
        if dotted
        else stripes(palette.main, palette.pale, 7, vertical=True)
    )
    skin = builder.add_material("bell", texture=builder.add_texture(pattern))
    plain = builder.add_material("plain")
    polar = np.linspace(0.0, 0.5 * np.pi, 8)
    outer = [(float(radius * np.sin(a)), float(height * np.cos(a))) for a in polar]
    inner = [(0.88 * r, 0.8 * y - 0.02) for r, y in outer[::-2]]
    bell = lathe([*outer, (0.96 * radius, -0.03), *inner], 20)
    eyes = [eyeball(0.055).moved(side * 0.13, 0.3 * height, 0.89 * radius) for side in (-1.0, 1.0)]
    arms: list[Shape] = []
    for index in range(count):
        angle = 2.0 * np.pi * (index + 0.5) / count
        x, z = 0.72 * radius * np.sin(angle), 0.72 * radius * np.cos(angle)
        path = [(x, -level * arm, z) for level in np.linspace(-0.05, 1.0, 6)]
        shade = palette.accent if index % 2 else palette.dark
        arms.append(tube(path, np.linspace(0.05, 0.025, 6), 6).painted(shade))
    targets = (closing, partial(rippling, turn=0.0), partial(rippling, turn=0.25))
    mesh = morph_mesh(builder, "jellyfish", [(bell, skin), (merge([*arms, *eyes]), plain)], targets)
    root = builder.add_node("place", rotation=turned("y", rng.uniform(-0.2, 0.2)))
    body = builder.add_node("jellyfish", root, mesh=mesh)

    animate = Animator(builder, motion, keys=17, mode="CUBICSPLINE")
    time = animate.time
    sway, pulse = motion.sway(time), motion.pulse(time)
    ripple = motion.amplitude * np.cos(motion.angle(time))
    if motion.gesture == "pulse":
        animate.move(body, (0.0, 0.0, 0.0), y=0.11 * motion.sway(time, 0.1))
        animate.morph(body, 0.8 * pulse, 0.3 * sway, 0.0)
    elif motion.gesture == "drift":
        animate.move(body, (0.0, 0.0, 0.0), x=0.12 * sway)
        animate.morph(body, 0.15 * pulse, 0.8 * sway, 0.8 * ripple)
    else:
        animate.rotate(body, ("z", 0.4 * sway))
        animate.morph(body, 0.4 * pulse, -0.6 * sway, 0.0)
    return builder.to_bytes(motion.gesture)
