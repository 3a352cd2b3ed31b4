"""Compare `gvf bake --raw` with Blender, vertex by vertex, on ten KayKit clips.

Blender comes as the Python module bpy, which pins numpy below 2 and so needs an environment of its own:

    uv venv --python 3.11 bpyenv
    uv pip install --python bpyenv/bin/python 'bpy==4.5.*' 'numpy<2'
    python benchmarks/bake_against_blender.py --blender-python bpyenv/bin/python

Both sample each clip at its key times and at a quarter, a half and three quarters between them. Distances are given
relative to the object's size, the longest side of its box over the clip. Goals: 1e-4 at key times; 1e-3 between,
where Blender interpolates quaternions by component and glTF demands the great circle. To separate that difference from
an error, the last column is the distance between keys when our rotations, too, are interpolated by component.

Measured on 2026-11-22 with bpy 4.5: at keys 8.3e-7; between 1.8e-3 (Rogue, Throw, whose hand turns 65 degrees between two keys),
all others below 8e-4; by component 8.8e-7.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

CLIPS = {
    "Barbarian": ("2H_Melee_Attack_Spinning", "Jump_Full_Long"),
    "Knight": ("1H_Melee_Attack_Chop", "Dodge_Forward"),
    "Mage": ("Spellcast_Long", "Running_A"),
    "Rogue": ("Throw", "Death_A"),
    "Rogue_Hooded": ("Dualwield_Melee_Attack_Slice", "Cheer"),
}
STEPS_PER_KEY = 4
KEY_RATE = 30  # keys of these files are 1/30 s apart
WORKER_FLAG = "--inside-blender"


def bake_with_blender(job_path: Path) -> None:
    """Write the world positions of every mesh object at the given times, for every clip; runs in Blender's Python."""
    import bpy  # type: ignore[import-not-found]

    job = json.loads(job_path.read_text())
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    # The importer turns seconds into frames with the scene's rate: at 30 a second the keys fall on whole frames.
    scene.render.fps, scene.render.fps_base = KEY_RATE, 1.0
    bpy.ops.import_scene.gltf(filepath=job["file"], merge_vertices=False, import_pack_images=False)
    bone_shapes = {bone.custom_shape for item in bpy.data.objects if item.pose for bone in item.pose.bones}
    meshes = [item for item in scene.objects if item.type == "MESH" and item not in bone_shapes]
    for clip in job["clips"]:
        _play(bpy, clip["name"])
        positions: dict[str, list[np.ndarray]] = {item.name: [] for item in meshes}
        for time in clip["times"]:
            frame = time * KEY_RATE
            whole = int(np.floor(frame + 1e-9))
            scene.frame_set(whole, subframe=max(frame - whole, 0.0))
            graph = bpy.context.evaluated_depsgraph_get()
            for item in meshes:
                evaluated = item.evaluated_get(graph)
                mesh = evaluated.to_mesh()
                flat = np.empty(len(mesh.vertices) * 3, np.float32)
                mesh.vertices.foreach_get("co", flat)
                world = np.array(evaluated.matrix_world, np.float64)
                x, y, z = (flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]).T
                positions[item.name].append(np.stack([x, z, -y], axis=1))  # back to glTF's y up
                evaluated.to_mesh_clear()
        np.savez(clip["output"], **{name: np.stack(frames) for name, frames in positions.items()})  # type: ignore[arg-type]


def _play(bpy: Any, clip: str) -> None:
    """Let one imported clip alone drive the scene: only its action, without the importer's NLA stack."""
    for item in bpy.data.objects:
        if item.animation_data is None:
            continue
        item.animation_data.use_nla = False
        item.animation_data.action = None
        for bone in item.pose.bones if item.pose else ():
            bone.matrix_basis.identity()
        for track in item.animation_data.nla_tracks:
            for strip in track.strips if track.name == clip else ():
                item.animation_data.action = strip.action
                item.animation_data.action_slot = strip.action_slot


def compare(blender_python: str, directory: Path) -> list[tuple[str, str, int, float, float, float]]:
    """Return character, clip, number of keys, largest relative distance at keys, between them, and between by component."""
    from gvf.data.gltf.baking import load_model
    from gvf.data.gltf.document import read_gltf

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for character, clips in CLIPS.items():
            file = directory / f"{character}.glb"
            model = load_model(read_gltf(file))
            job: dict[str, Any] = {"file": str(file.resolve()), "clips": []}
            for name in clips:
                animation = model.animation(model.document.animation_names.index(name))
                num_keys = max(len(channel.times) for channel in animation.channels)
                times = np.linspace(animation.start, animation.end, (num_keys - 1) * STEPS_PER_KEY + 1)
                output = str(Path(folder, f"{character}-{name}.npz"))
                job["clips"].append({"name": name, "times": times.tolist(), "output": output, "keys": num_keys})
            job_path = Path(folder, f"{character}.json")
            job_path.write_text(json.dumps(job))
            subprocess.run(
                [blender_python, __file__, WORKER_FLAG, str(job_path)], check=True, stdout=subprocess.DEVNULL
            )
            for clip in job["clips"]:
                ours = _bake(file, clip["name"], len(clip["times"]), Path(folder, "ours.npz"))
                theirs = _in_our_order(dict(np.load(clip["output"])), model)
                size = (theirs.max(axis=(0, 1)) - theirs.min(axis=(0, 1))).max()
                distances = np.linalg.norm(ours - theirs, axis=-1).max(axis=1) / size
                at_keys = np.arange(len(distances)) % STEPS_PER_KEY == 0
                similar = _bake_by_component(model, clip["name"], np.array(clip["times"]))
                by_component = np.linalg.norm(similar - theirs, axis=-1).max(axis=1) / size
                worst = (float(distances[at_keys].max()), float(distances[~at_keys].max()), float(by_component.max()))
                rows.append((character, clip["name"], int(clip["keys"]), *worst))
    return rows


def _bake(file: Path, clip: str, frames: int, output: Path) -> np.ndarray:
    """Return the vertices [T, V, 3] that the command writes."""
    command = [
        sys.executable,
        "-m",
        "gvf.cli",
        "bake",
        str(file),
        "--clip",
        clip,
        "--frames",
        str(frames),
        "--raw",
    ]
    subprocess.run([*command, "-o", str(output)], check=True)
    return np.array(np.load(output)["vertices"], np.float64)


def _bake_by_component(model: Any, clip: str, times: np.ndarray) -> np.ndarray:
    """Return vertices [T, V, 3] with rotations interpolated as in Blender: each component linearly, then normalised."""
    from gvf.data.gltf import animation as gltf_animation
    from gvf.data.gltf.baking import bake_clip

    @dataclasses.dataclass(frozen=True)
    class ByComponent(gltf_animation.Channel):
        def evaluate(self, at: np.ndarray) -> np.ndarray:
            if self.path != "rotation" or self.interpolation != "LINEAR":
                return super().evaluate(at)
            flips = np.cumprod(np.where((self.values[1:] * self.values[:-1]).sum(-1) < 0.0, -1.0, 1.0))
            values = self.values * np.concatenate([[1.0], flips])[:, None]
            return gltf_animation.unit_quaternions(gltf_animation.sample_linear(self.times, values, at))

    animation = model.animation(model.document.animation_names.index(clip))
    channels = tuple(ByComponent(**vars(channel)) for channel in animation.channels)
    return bake_clip(model, dataclasses.replace(animation, channels=channels), times).vertices.astype(np.float64)


def _in_our_order(objects: dict[str, np.ndarray], model: Any) -> np.ndarray:
    """Return Blender's vertices [T, V, 3] by the node names of our parts; the importer keeps the order within a mesh."""
    pieces = []
    for part in model.parts:
        piece = objects.pop(model.tree.nodes[part.node].name)
        if piece.shape[1] != len(part.primitive.positions):
            raise SystemExit(f"{model.tree.nodes[part.node].name}: Blender has another number of vertices.")
        pieces.append(piece)
    if objects:
        raise SystemExit(f"Only Blender has {', '.join(objects)}.")
    return np.concatenate(pieces, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blender-python", required=True, help="Python of an environment that has bpy 4.5.")
    parser.add_argument(
        "--directory", type=Path, default=Path("../shared/data/kaykit"), help="Folder of the KayKit GLBs."
    )
    arguments = parser.parse_args()
    rows = compare(arguments.blender_python, arguments.directory)
    print(f"{'character':14} {'clip':30} {'keys':>5} {'at keys':>10} {'between':>10} {'by component':>13}")
    for character, clip, keys, at_keys, between, by_component in rows:
        print(f"{character:14} {clip:30} {keys:5d} {at_keys:10.2e} {between:10.2e} {by_component:13.2e}")
    largest = [max(row[column] for row in rows) for column in (3, 4, 5)]
    print(f"{'largest':50} {largest[0]:10.2e} {largest[1]:10.2e} {largest[2]:13.2e}")


if __name__ == "__main__":
    if sys.argv[1:2] == [WORKER_FLAG]:
        bake_with_blender(Path(sys.argv[2]))
    else:
        main()
