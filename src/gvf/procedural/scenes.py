"""Build scenes of several objects: planets around a sun, and balls that bounce or are juggled."""

from __future__ import annotations

import numpy as np

from gvf.procedural.colors import Palette, draw_palette, hsv, mix
from gvf.procedural.glb import GlbBuilder
from gvf.procedural.motion import Animator, Motion, around, turned
from gvf.procedural.rig import add_part
from gvf.procedural.shapes import rounded_box, sphere, torus
from gvf.procedural.textures import bands, checks, face, spots, stripes

PLANETS_GESTURES = ("orbit", "librate", "breathe")
BALLS_GESTURES = ("bounce", "wave", "juggle")


def planets(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a smiling sun and three planets on tilted orbits, one with a ring and one with a moon."""
    palette = draw_palette(rng)
    builder = GlbBuilder()
    plain = builder.add_material("plain")
    sunny = hsv(rng.uniform(0.08, 0.15), 0.8, 1.0)
    glow = face(sunny, palette.dark, eye=0.07, spread=0.09, smile=0.9, cheek=mix(sunny, (1.0, 0.3, 0.2), 0.5))
    light = builder.add_material("sun", texture=builder.add_texture(glow))
    root = builder.add_node("system", rotation=turned("x", rng.uniform(0.6, 0.85)))
    upright = turned("x", -0.5)  # the sun looks at the viewer, not along the orbits' plane
    sun = add_part(builder, "sun", root, [(sphere(around(rng, 0.26, 0.15), 14, 20), light)], rotation=upright)

    animate = Animator(builder, motion, keys=17)
    time = animate.time
    breath = motion.pulse(time)
    start = rng.random()
    for index, distance in enumerate((0.45, 0.70, 0.98)):
        size, distance = around(rng, 0.125 + 0.01 * index, 0.2), around(rng, distance, 0.06)
        look: Palette = draw_palette(rng)
        stormy = builder.add_texture(bands(rng, (look.main, look.pale, look.accent, look.dark), 7))
        ground = builder.add_material(f"planet {index}", texture=stormy)
        angle = np.full_like(time, 2.0 * np.pi * (start + 0.38 * index))
        if motion.gesture == "orbit":
            angle = angle + 0.6 * motion.direction * motion.amplitude * motion.cycles * time * (0.45 / distance) ** 0.5
        elif motion.gesture == "librate":
            angle = angle + 0.45 * (-1.0) ** index * motion.sway(time)
        pivot = builder.add_node(f"orbit {index}", root)
        animate.rotate(pivot, ("y", angle))
        parts = [(sphere(size, 12, 18), ground)]
        if index == 2:
            ring = torus(1.5 * size, 0.2 * size, 28, 6).scaled(1.0, 0.25, 1.0).turned("x", -0.35)
            parts.append((ring.painted(look.accent), plain))
        planet = add_part(builder, f"planet {index}", pivot, parts)
        animate.move(planet, (distance, 0.0, 0.0), x=-0.35 * distance * breath if motion.gesture == "breathe" else 0.0)
        animate.rotate(planet, ("y", 1.2 * motion.ramp(time)))
        if index == 1:
            moon = add_part(builder, "moon", planet, [(sphere(0.4 * size, 8, 12).painted(look.pale), plain)])
            turn = 2.5 * motion.ramp(time)
            animate.move(moon, (0.0, 0.25 * size, 0.0), x=1.6 * size * np.sin(turn), z=1.6 * size * np.cos(turn))
    swell = 1.0 + (0.35 if motion.gesture == "breathe" else 0.08) * breath
    animate.scale(sun, swell, swell, swell, mode="CUBICSPLINE")
    return builder.to_bytes(motion.gesture)


def balls(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build balls of different looks over a board: they bounce one after the other, rise in a wave or are juggled."""
    palette = draw_palette(rng)
    count = 3 if motion.gesture == "juggle" else int(rng.integers(3, 6))
    spacing, height = 0.36, around(rng, 0.45, 0.15)

    builder = GlbBuilder()
    wood = builder.add_material("board", texture=builder.add_texture(checks(palette.dark, palette.pale, 6, 2)))
    root = builder.add_node("scene", rotation=turned("x", rng.uniform(0.1, 0.25)))
    width = spacing * count + 0.1
    board = rounded_box((width, 0.07, 0.36), 0.02).moved(0.0, -0.035, 0.0)
    add_part(builder, "board", root, [(board, wood)])

    animate = Animator(builder, motion, keys=33)
    time = animate.time
    for index in range(count):
        look = draw_palette(rng)
        radius = around(rng, 0.15, 0.15)
        pattern = (
            lambda look=look: stripes(look.main, look.pale, 3, vertical=True),
            lambda look=look: checks(look.main, look.accent, 3, 3),
            lambda look=look: spots(rng, look.main, look.pale, 9, 0.08),
            lambda look=look: face(look.main, look.dark, cheek=look.accent),
        )[(index + int(rng.integers(4))) % 4]()
        skin = builder.add_material(f"ball {index}", texture=builder.add_texture(pattern))
        node = add_part(builder, f"ball {index}", root, [(sphere(radius, 12, 18), skin)])
        x = spacing * (index - 0.5 * (count - 1))
        lag = index / count * (0.5 + 0.2 * motion.style)
        if motion.gesture == "bounce":
            fall = (motion.cycles * time - motion.direction * lag) % 1.0
            rise = 4.0 * fall * (1.0 - fall)
            flat = 0.25 * motion.amplitude * np.exp(-((rise / 0.2) ** 2))
            animate.move(node, (x, radius, 0.0), y=motion.amplitude * height * rise - radius * flat)
            animate.scale(node, 1.0 + 0.5 * flat, 1.0 - flat, 1.0 + 0.5 * flat)
        elif motion.gesture == "wave":
            animate.move(node, (x, radius + 0.02, 0.0), y=height * motion.pulse(time, motion.direction * lag))
            animate.rotate(node, ("z", 0.6 * motion.sway(time, lag)))
        else:
            turn = 2.0 * np.pi * index / 3.0 + motion.direction * motion.amplitude * 1.3 * motion.cycles * time
            animate.move(node, (0.0, 0.2 + height, 0.0), x=0.95 * spacing * np.sin(turn), y=0.8 * height * np.cos(turn))
            animate.rotate(node, ("z", -0.5 * (turn - 2.0 * np.pi * index / 3.0)))
    return builder.to_bytes(motion.gesture)
