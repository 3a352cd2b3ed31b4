"""Build creatures on legs with one smooth skin each: a biped, a quadruped and a spider."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gvf.procedural.colors import BLACK, Palette, Rgb, draw_palette, hsv, mix
from gvf.procedural.glb import GlbBuilder
from gvf.procedural.motion import Animator, Array, Motion, around, smoothstep, turned
from gvf.procedural.rig import Rig
from gvf.procedural.shapes import Shape, cone, eyeball, merge, sphere, tube
from gvf.procedural.textures import checks, face, spots, stripes

BIPED_GESTURES = ("walk", "wave", "jump", "dance")
QUADRUPED_GESTURES = ("trot", "bound", "rear")
SPIDER_GESTURES = ("crawl", "bounce", "threaten")

_SIDES = (("right", -1.0), ("left", 1.0))  # the object's own right and left, and the sign of x


def biped(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a big-headed figure in a patterned shirt."""
    palette = draw_palette(rng)
    skin = hsv(rng.uniform(0.02, 0.12), rng.uniform(0.25, 0.6), rng.uniform(0.6, 0.97))
    leg, trunk, arm = around(rng, 0.50), around(rng, 0.46, 0.15), around(rng, 0.50)
    girth, head, limb = around(rng, 0.20), around(rng, 0.25, 0.15), around(rng, 0.08, 0.15)
    hip = leg + 0.10
    neck = hip + trunk

    rig = Rig()
    rig.chain(
        ("hips", "chest", "head"), None, [(0.0, y, 0.0) for y in (hip, hip + 0.4 * trunk, neck, neck + 2.0 * head)]
    )
    builder = GlbBuilder()
    pattern = checks(palette.main, palette.pale, 4, 3) if rng.random() < 0.5 else stripes(palette.main, palette.pale, 4)
    shirt = builder.add_material("shirt", texture=builder.add_texture(pattern))
    features = face(
        skin,
        palette.dark,
        smile=rng.uniform(0.2, 1.0),
        eye=rng.uniform(0.055, 0.075),
        cheek=mix(skin, (1.0, 0.4, 0.4), 0.4),
    )
    front = builder.add_material("face", texture=builder.add_texture(features))
    plain = builder.add_material("plain")

    spine = [(0.0, y, 0.0) for y in (hip - 0.02, hip + 0.3 * trunk, hip + 0.7 * trunk, neck - 0.04)]
    body = tube(spine, np.outer([0.95, 1.05, 0.95, 0.6], [girth, 0.8 * girth]), 20)
    rig.attach(body, shirt, ("hips", "chest"), 0.12)
    rig.attach(sphere(head, 14, 20).moved(0.0, neck + 0.8 * head, 0.0), front, ("head",))
    hat = cone(0.75 * head, around(rng, 0.9 * head), 16).moved(0.0, neck + 1.45 * head, 0.0)
    nose = sphere(0.13 * head, 6, 8).moved(0.0, neck + 0.75 * head, 1.02 * head)
    rig.attach(merge([hat, nose]).painted(palette.accent), plain, ("head",))
    for name, side in _SIDES:
        shoulder = np.array([side * 0.75 * girth, neck - 0.09, 0.0])
        elbow = shoulder + 0.5 * arm * np.array([side * 0.45, -0.9, 0.0])
        hand = elbow + 0.5 * arm * np.array([side * 0.3, -0.95, 0.1])
        _limb(rig, ("upper arm " + name, "forearm " + name), "chest", [shoulder, elbow, hand], plain,
              limb * np.array([0.95, 0.75]), palette.main)  # fmt: skip
        rig.attach(sphere(1.4 * limb, 8, 10).moved(*hand).painted(skin), plain, ("forearm " + name,))
        top = np.array([side * 0.52 * girth, hip, 0.0])
        ankle = np.array([side * 0.6 * girth, 0.12 * leg, 0.0])
        _limb(rig, ("thigh " + name, "shin " + name), "hips", [top, 0.5 * (top + ankle) + [0.0, 0.0, 0.02], ankle],
              plain, limb * np.array([1.3, 0.95]), palette.dark)  # fmt: skip
        shoe = sphere(1.0, 8, 12).scaled(1.4 * limb, limb, 2.2 * limb).moved(ankle[0], limb, 0.8 * limb)
        rig.attach(shoe.painted(palette.accent), plain, ("shin " + name,))

    root = builder.add_node("biped", rotation=turned("y", rng.uniform(0.3, 0.5)))
    _animate_biped(Animator(builder, motion), rig, rig.build(builder, "figure", root), motion)
    return builder.to_bytes(motion.gesture)


def _animate_biped(animate: Animator, rig: Rig, nodes: dict[str, int], motion: Motion) -> None:
    time, size, hips = animate.time, motion.amplitude, rig.rest("hips")
    sway, pulse, bob = motion.sway(time), motion.pulse(time), motion.bob(time)
    if motion.gesture == "walk":
        animate.move(nodes["hips"], hips, x=0.05 * sway, y=0.06 * bob)
        animate.rotate(nodes["hips"], ("z", -0.10 * sway), ("y", 0.2 * sway))
        animate.rotate(nodes["chest"], ("y", -0.5 * sway), ("z", 0.16 * sway))
        animate.rotate(nodes["head"], ("y", 0.3 * sway))
        for name, side in _SIDES:
            animate.rotate(nodes["thigh " + name], ("x", -0.8 * side * sway - 0.1 * size))
            animate.rotate(nodes["shin " + name], ("x", motion.lift(time, side)))
            animate.rotate(nodes["upper arm " + name], ("x", 0.9 * side * sway))
            animate.rotate(nodes["forearm " + name], ("x", -0.4 + 0.3 * side * sway))
    elif motion.gesture == "wave":
        waving = 1.0 if motion.style > 0.0 else -1.0
        animate.move(nodes["hips"], hips, x=0.05 * sway)
        animate.rotate(nodes["hips"], ("z", 0.06 * sway))
        animate.rotate(nodes["chest"], ("z", -0.2 * sway))
        animate.rotate(nodes["head"], ("z", -0.2 * sway))
        for name, side in _SIDES:
            raised = (2.3 if side == waving else 0.5) * size * smoothstep(time, 0.0, 0.4)
            animate.rotate(nodes["upper arm " + name], ("z", side * raised))
            animate.rotate(nodes["forearm " + name], ("z", (0.6 if side == waving else 0.1) * sway))
    elif motion.gesture == "jump":
        animate.move(nodes["hips"], hips, y=0.26 * pulse)
        for name, side in _SIDES:
            animate.rotate(nodes["upper arm " + name], ("z", side * 1.7 * pulse))
            animate.rotate(nodes["forearm " + name], ("z", side * 0.3 * pulse))
            animate.rotate(nodes["thigh " + name], ("z", side * 0.5 * pulse), ("x", -0.4 * pulse))
            animate.rotate(nodes["shin " + name], ("x", 0.6 * pulse))
    else:
        animate.move(nodes["hips"], hips, x=0.10 * sway, y=0.03 * pulse)
        animate.rotate(nodes["hips"], ("z", 0.14 * sway), ("y", (0.25 + 0.2 * motion.style) * sway))
        animate.rotate(nodes["chest"], ("z", -0.34 * sway))
        animate.rotate(nodes["head"], ("z", 0.22 * sway))
        for name, side in _SIDES:
            animate.rotate(nodes["upper arm " + name], ("z", 0.9 * side * size + 0.6 * sway))
            animate.rotate(nodes["forearm " + name], ("z", 0.5 * side * size + 0.5 * motion.sway(time, 0.1)))
            animate.rotate(nodes["thigh " + name], ("z", -0.18 * sway))


def quadruped(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a spotted or striped animal, turned so that its side shows."""
    palette = draw_palette(rng)
    length, girth, leg = around(rng, 0.62), around(rng, 0.19), around(rng, 0.42, 0.25)
    head, limb = around(rng, 0.18, 0.15), around(rng, 0.065, 0.15)
    back = leg + 0.6 * girth
    neck = np.array([0.0, back + 0.35 * girth, 0.5 * length])
    skull = neck + np.array([0.0, around(rng, 0.24, 0.3), 0.14])
    tail = np.array([0.0, back + 0.4 * girth, -0.5 * length - 0.3 * girth])
    tail = tail + np.array([[0.0, 0.0, 0.0], [0.0, 0.05, -0.16], [0.0, 0.16, -0.28]])
    shoulders, hips = 0.5 * length - 0.3 * girth, -0.5 * length + 0.3 * girth

    rig = Rig()
    rig.chain(("pelvis", "chest"), None, [(0.0, back, hips), (0.0, back, 0.0), (0.0, back, shoulders)])
    rig.chain(("neck", "head"), "chest", [neck, skull, skull + np.array([0.0, 0.0, head])])
    rig.chain(("tail", "tail tip"), "pelvis", tail)
    builder = GlbBuilder()
    dotted = rng.random() < 0.5
    pattern = spots(rng, palette.main, palette.pale, 9, 0.09) if dotted else stripes(palette.main, palette.dark, 5)
    coat = builder.add_material("coat", texture=builder.add_texture(pattern))
    plain = builder.add_material("plain")

    trunk = tube([(0.0, back, z) for z in np.linspace(-0.5 * length, 0.5 * length, 7)],
                 girth * np.array([0.85, 1.0, 0.95, 0.95, 1.0, 1.05, 0.85]), 18, up=(0.0, 1.0, 0.0))  # fmt: skip
    rig.attach(trunk, coat, ("pelvis", "chest"), 0.15)
    throat = tube([neck - [0.0, 0.05, 0.06], 0.5 * (neck + skull), skull], girth * np.array([0.62, 0.5, 0.45]), 12)
    rig.attach(throat.painted(palette.main), plain, ("neck", "head"), 0.08)
    rig.attach(_animal_head(rng, head, palette).moved(*skull), plain, ("head",))
    rig.attach(tube(tail, limb * np.array([0.8, 0.75, 0.85]), 8).painted(palette.accent), plain, ("tail", "tail tip"))
    for end, z, parent in (("fore", shoulders, "chest"), ("hind", hips, "pelvis")):
        for name, side in _SIDES:
            top = np.array([side * 0.62 * girth, back - 0.3 * girth, z])
            foot = np.array([top[0], limb, z])
            knee = 0.5 * (top + foot) + [0.0, 0.0, 0.04]
            joints = (f"{end} thigh {name}", f"{end} shin {name}")
            _limb(rig, joints, parent, [top, knee, foot], plain, limb * np.array([1.5, 0.95]), palette.main)
            hoof = sphere(1.0, 6, 10).scaled(1.3 * limb, limb, 1.6 * limb).moved(foot[0], limb, z + 0.3 * limb)
            rig.attach(hoof.painted(palette.accent), plain, joints[1:])

    root = builder.add_node("quadruped", rotation=turned("y", rng.uniform(0.8, 1.05)))
    _animate_quadruped(Animator(builder, motion), rig, rig.build(builder, "animal", root), motion)
    return builder.to_bytes(motion.gesture)


def _animate_quadruped(animate: Animator, rig: Rig, nodes: dict[str, int], motion: Motion) -> None:
    time, pelvis = animate.time, rig.rest("pelvis")
    sway, pulse = motion.sway(time), motion.pulse(time)
    legs = [(end, name, side) for end in ("fore", "hind") for name, side in _SIDES]
    animate.rotate(nodes["tail"], ("y", 0.5 * sway), ("x", 0.3 * pulse))
    animate.rotate(nodes["tail tip"], ("y", 0.5 * motion.sway(time, 0.15)))
    if motion.gesture == "trot":
        animate.move(nodes["pelvis"], pelvis, y=0.07 * motion.bob(time))
        animate.rotate(nodes["pelvis"], ("x", 0.06 * sway), ("y", 0.1 * sway))
        animate.rotate(nodes["neck"], ("x", 0.25 * sway))
        for end, name, side in legs:
            pair = side if end == "fore" else -side  # diagonal pairs swing together
            animate.rotate(nodes[f"{end} thigh {name}"], ("x", -0.75 * pair * sway))
            animate.rotate(nodes[f"{end} shin {name}"], ("x", 0.9 * motion.lift(time, pair)))
    elif motion.gesture == "bound":
        animate.move(nodes["pelvis"], pelvis, y=0.10 * pulse)
        animate.rotate(nodes["pelvis"], ("x", -0.2 * sway))
        animate.rotate(nodes["chest"], ("x", -0.14 * sway))
        animate.rotate(nodes["neck"], ("x", 0.25 * sway))
        for end, name, _ in legs:
            pair = -1.0 if end == "fore" else 1.0
            animate.rotate(nodes[f"{end} thigh {name}"], ("x", pair * (0.7 * sway + 0.2 * pulse)))
            animate.rotate(nodes[f"{end} shin {name}"], ("x", 0.5 * pulse))
    else:
        animate.rotate(nodes["pelvis"], ("x", -0.5 * pulse))
        animate.rotate(nodes["chest"], ("x", -0.12 * pulse))
        animate.rotate(nodes["neck"], ("x", 0.35 * pulse))
        for end, name, side in legs:
            if end == "fore":
                animate.rotate(nodes[f"fore thigh {name}"], ("x", -0.35 * pulse + 0.3 * side * sway))
                animate.rotate(nodes[f"fore shin {name}"], ("x", 0.8 * pulse))
            else:
                animate.rotate(nodes[f"hind thigh {name}"], ("x", 0.5 * pulse))


def spider(rng: np.random.Generator, motion: Motion) -> bytes:
    """Build a round body on six or eight jointed legs."""
    palette = draw_palette(rng)
    pairs = 3 if rng.random() < 0.5 else 4
    size, reach, height = around(rng, 0.23), around(rng, 0.34, 0.15), around(rng, 0.32, 0.15)
    limb = around(rng, 0.048)

    rig = Rig()
    rig.joint("body", None, (0.0, height, 0.0))
    builder = GlbBuilder()
    dotted = rng.random() < 0.5
    pattern = spots(rng, palette.main, palette.accent, 10, 0.08) if dotted else stripes(palette.main, palette.accent, 4)
    back = builder.add_material("back", texture=builder.add_texture(pattern))
    plain = builder.add_material("plain")
    abdomen = sphere(size, 14, 20).scaled(1.05, 0.95, 1.15).moved(0.0, height + 0.3 * size, -1.1 * size)
    rig.attach(abdomen, back, ("body",))
    thorax = sphere(size, 10, 16).scaled(0.8, 0.65, 0.8).moved(0.0, height, 0.35 * size).painted(palette.dark)
    eyes = [
        eyeball(radius * size).moved(side * x * size, height + y * size, z * size)
        for radius, x, y, z in ((0.26, 0.3, 0.32, 0.93), (0.13, 0.62, 0.36, 0.72))
        for side in (-1.0, 1.0)
    ]
    rig.attach(merge([thorax, *eyes]), plain, ("body",))
    legs = []
    for name, side in _SIDES:
        for row in range(pairs):
            turn = 0.65 - 1.3 * row / (pairs - 1)  # from front to rear
            outward = np.array([side * np.cos(turn), 0.0, np.sin(turn)])
            hip = np.array([0.0, height, 0.25 * size]) + 0.55 * size * outward
            knee = hip + 0.8 * reach * outward + [0.0, 0.62 * reach, 0.0]
            foot = (knee + 0.5 * reach * outward) * [1.0, 0.0, 1.0] + [0.0, limb, 0.0]
            joints = (f"femur {name} {row}", f"tibia {name} {row}")
            _limb(rig, joints, "body", [hip, knee, foot], plain, limb * np.array([1.3, 0.75]), palette.accent)
            lift = (-outward[2], 0.0, outward[0])  # turning about it raises the leg
            legs.append((joints, side, row, lift))

    root = builder.add_node("spider", rotation=turned("y", rng.uniform(0.25, 0.45)))
    nodes = rig.build(builder, "arthropod", root)
    animate = Animator(builder, motion)
    time, centre = animate.time, rig.rest("body")
    sway, pulse = motion.sway(time), motion.pulse(time)
    if motion.gesture == "crawl":
        animate.move(nodes["body"], centre, x=0.07 * sway, y=0.05 * motion.bob(time))
        animate.rotate(nodes["body"], ("y", 0.2 * sway), ("z", -0.1 * sway))
    elif motion.gesture == "bounce":
        animate.move(nodes["body"], centre, x=0.06 * sway, y=-0.55 * height * pulse)
        animate.rotate(nodes["body"], ("z", 0.12 * sway))
    else:
        animate.move(nodes["body"], centre, y=0.06 * pulse, z=-0.04 * pulse)
        animate.rotate(nodes["body"], ("x", -0.45 * pulse), ("y", 0.15 * sway))
    for (femur, tibia), side, row, lift in legs:
        tripod = 1.0 if (row % 2 == 0) == (side > 0.0) else -1.0  # neighbours take turns
        if motion.gesture == "crawl":
            swing = -0.45 * tripod * side * sway
            animate.rotate(nodes[femur], ("y", swing), (lift, 0.5 * motion.lift(time, tripod)))
        elif motion.gesture == "bounce":
            drop = 0.55 * height / (1.3 * reach) * pulse
            animate.rotate(nodes[femur], (lift, drop))
            animate.rotate(nodes[tibia], (lift, -0.4 * drop))
        elif row < pairs / 2.0:
            animate.rotate(nodes[femur], (lift, 0.75 * pulse + 0.2 * tripod * sway))
            animate.rotate(nodes[tibia], (lift, 0.4 * pulse))
        else:
            animate.rotate(nodes[femur], ("y", 0.15 * side * pulse), (lift, 0.12 * pulse))
    return builder.to_bytes(motion.gesture)


def _limb(
    rig: Rig,
    joints: tuple[str, str],
    parent: str,
    path: Sequence[Array],
    material: int,
    radii: Array,
    color: Rgb,
) -> None:
    """Add two joints below `parent` and a tapering tube that they bend. path: top, knee, end; radii: at top and end."""
    rig.chain(joints, parent, path)
    top, knee, end = path
    points = [top, 0.5 * (top + knee), 0.12 * top + 0.88 * knee, 0.12 * end + 0.88 * knee, 0.5 * (knee + end), end]
    shape = tube(points, np.interp([0.0, 0.25, 0.45, 0.55, 0.75, 1.0], [0.0, 1.0], radii), 8)
    rig.attach(shape.painted(color), material, joints, 0.04)


def _animal_head(rng: np.random.Generator, size: float, palette: Palette) -> Shape:
    """Build skull, muzzle, ears and eyes, looking along +z."""
    skull = sphere(size, 10, 16).scaled(0.9, 0.85, 1.0).moved(0.0, 0.02, 0.04).painted(palette.main)
    muzzle = (
        sphere(size, 8, 12).scaled(0.5, 0.42, 0.6).moved(0.0, -0.25 * size, 0.04 + 0.9 * size).painted(palette.pale)
    )
    nose = sphere(0.18 * size, 6, 8).moved(0.0, -0.1 * size, 0.04 + 1.45 * size).painted(BLACK)
    ear = cone(0.32 * size, around(rng, 0.75 * size), 10).painted(palette.accent)
    parts = [skull, muzzle, nose]
    for side in (-1.0, 1.0):
        parts.append(ear.turned("z", -0.4 * side).moved(0.5 * side * size, 0.6 * size, 0.0))
        parts.append(eyeball(0.24 * size).moved(0.5 * side * size, 0.3 * size, 0.04 + 0.72 * size))
    return merge(parts)
