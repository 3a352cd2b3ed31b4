"""Stage curate: one decision per clip with its reason, and a split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gvf.config.curate import CurateConfig
from gvf.config.load import parse
from gvf.data.curation import asset_map
from gvf.data.curation.reserved import ReservedAsset, reserved_assets
from gvf.data.manifest import slug
from gvf.data.mesh import AnimatedMesh
from gvf.errors import ConfigError, StageError
from gvf.metrics.aesthetic import AestheticWeights
from gvf.stages import curate
from gvf.storage.files import sha256
from gvf.workspace import Workspace
from tests.data.gltf.gltf_files import TRIANGLE, GltfFile, png, sliding_triangle
from tests.stages import deadly_curation
from tests.stages.curation import CONFIG, curate_source, decided_clips, write_good


def _many_triangles() -> GltfFile:
    """Ten million triangles that the file only claims to have: reading them would fail, counting them must not."""
    file = sliding_triangle()
    file.json["accessors"][0] = {"bufferView": 0, "count": 30_000_000, "type": "VEC3", "componentType": 5126}
    return file


def _not_a_number() -> GltfFile:
    file = sliding_triangle()
    file.json["meshes"][0]["primitives"][0]["attributes"]["POSITION"] = file.accessor(
        np.where(TRIANGLE == 1, np.nan, TRIANGLE), "VEC3"
    )
    return file


def _infinite() -> GltfFile:
    file = sliding_triangle()
    file.json["nodes"][0]["scale"] = [1e300, 1e300, 1]
    return file


def _no_texture() -> GltfFile:
    file = sliding_triangle()
    file.entry("images", uri="absent.png")
    file.entry("textures", source=0)
    file.entry("materials", pbrMetallicRoughness={"baseColorTexture": {"index": 0}})
    file.json["meshes"][0]["primitives"][0]["material"] = 0
    return file


def _one_key() -> GltfFile:
    file = GltfFile()
    node = file.node(mesh=file.triangle_mesh())
    file.animation("pose")
    file.channel(0, node, "translation", [0.0], [[0, 0, 0]])
    return file


def _flat_line() -> GltfFile:
    file = GltfFile()
    node = file.node(mesh=file.triangle_mesh(np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32)))
    file.animation("line")
    file.channel(0, node, "translation", [0, 1], [[0, 0, 0], [5, 0, 0]])
    return file


def _no_mesh() -> GltfFile:
    file = GltfFile()
    node = file.node()
    file.animation("nothing")
    file.channel(0, node, "translation", [0, 1], [[0, 0, 0], [5, 0, 0]])
    return file


@pytest.mark.parametrize(
    ("make", "reason", "words"),
    [
        (_many_triangles, "size", "has 10000000 triangles"),
        (_not_a_number, "invalid", "NaN or infinite value"),
        (_infinite, "invalid", "NaN or infinite vertex"),
        (_no_texture, "invalid", "cannot read its file 'absent.png'"),
        (_one_key, "motion", "single key time"),
        (
            lambda: sliding_triangle(distance=0.001),
            "motion",
            "99 % of its surface moves by no more than 0.0010 of the object's size; curate.min_motion is 0.02.",
        ),
        (lambda: sliding_triangle(distance=0.0), "motion", "no more than 0.0000 of"),
        (_flat_line, "invalid", "no area"),
        (_no_mesh, "invalid", "no triangles"),
    ],
)
def test_a_bad_clip_is_rejected_with_its_reason_and_the_run_goes_on(
    source: Path, make: Callable[[], GltfFile], reason: str, words: str
) -> None:
    write_good(source)
    make().glb(source / "bad.glb")
    metrics = curate_source(source)
    (clip_id,) = [name for name in decided_clips().index if name.startswith("bad")]
    clip = decided_clips().loc[clip_id]
    assert (clip["decision"], clip["reason"]) == ("rejected", reason)
    assert words in clip["message"]
    assert pd.isna(clip["split"])
    assert (metrics["accepted"], metrics[f"rejected_{reason}"]) == (2, 1)
    assert sorted(path.stem for path in Workspace().curated.glob("*.npz")) == ["good0--slide0", "good1--slide1"]


def _two_parts(distance: float) -> GltfFile:
    """A large triangle that stays and one of 2.25 % of its area that goes up by `distance`, both 10 wide and high."""
    file = GltfFile()
    file.node(mesh=file.triangle_mesh(10 * TRIANGLE))
    hand = file.node(mesh=file.triangle_mesh(1.5 * TRIANGLE))
    file.animation("wave")
    file.channel(0, hand, "translation", [0, 1], [[0, 0, 0], [0, distance, 0]])
    return file


def test_local_motion_is_motion(source: Path) -> None:
    """A hand that travels half of the object's size: the mean over the surface, 0.011, is below the threshold."""
    write_good(source)
    _two_parts(distance=5.0).glb(source / "hand.glb")
    _two_parts(distance=0.1).glb(source / "finger.glb")
    curate_source(source, num_points=1000)
    clips = decided_clips()
    assert clips.loc["hand--wave", "decision"] == "accepted"
    assert clips.loc["hand--wave", "motion"] == pytest.approx(0.5, abs=1e-5)
    assert clips.loc["finger--wave", "reason"] == "motion"
    points = AnimatedMesh.load(Workspace().curated / "hand--wave.npz").points
    assert points is not None
    assert np.linalg.norm(points - points[0], axis=-1).max(axis=0).mean() < 0.02


def test_textures_beside_a_glb_are_on_the_accepted_clip(source: Path) -> None:
    for folder, grey in (("one", 50), ("two", 200)):
        (source / folder / "textures").mkdir(parents=True)
        (source / folder / "textures/color map.png").write_bytes(png(np.full((2, 2, 3), grey)))
        for name in ("car", "bus"):
            _textured("textures/color%20map.png").glb(source / folder / f"{name}.glb")
    metrics = curate_source(source)
    clips = decided_clips()
    assert metrics["accepted"] == 4
    assert clips["family"].tolist() == ["one/bus", "one/car", "two/bus", "two/car"]
    for clip_id, grey in zip(clips.index, (50, 50, 200, 200)):
        (texture,) = AnimatedMesh.load(Workspace().curated / f"{clip_id}.npz").textures
        assert texture[..., :3].tolist() == np.full((2, 2, 3), grey).tolist()


def _textured(uri: str) -> GltfFile:
    file = sliding_triangle("go")
    file.entry("images", uri=uri)
    file.entry("textures", source=0)
    file.entry("materials", pbrMetallicRoughness={"baseColorTexture": {"index": 0}})
    file.json["meshes"][0]["primitives"][0]["material"] = 0
    return file


def test_names_from_files_cost_nothing_and_tables_have_equal_bytes(source: Path) -> None:
    """Long names, other scripts, half of a surrogate pair, an image that a library cannot read."""
    names = ["x" * 300, "x" * 301, "走る", "run \ud83d", "\u200b", "a\x00b\nc"]
    for i, name in enumerate(names):
        sliding_triangle(name, height=1 + 0.1 * i).glb(source / f"{i}.glb")
    no_image = _textured("torn.png")
    (source / "torn.png").write_bytes(b"no image")
    no_image.glb(source / "torn.glb")
    curate_source(source)
    clips = decided_clips()
    assert clips["reason"].dropna().to_dict() == {"torn--go": "invalid"}
    assert clips["animation"].tolist()[:6] == [
        "x" * 119 + "…",
        "x" * 119 + "…",
        "走る",
        "run \ufffd",
        "animation_0",
        "a b c",
    ]
    assert [clip_id.partition("--")[2] for clip_id in clips.index[:6]] == [
        slug(clips["animation"].iloc[0]),
        slug(clips["animation"].iloc[0]),  # of another file
        slug("走る"),
        "run",
        "animation_0",
        "a-b-c",
    ]
    first = Workspace().curated_manifest.read_bytes()
    curate_source(source)
    assert Workspace().curated_manifest.read_bytes() == first


def test_files_that_collect_could_not_read_stay_rejected(source: Path) -> None:
    write_good(source)
    (source / "empty.glb").touch()
    sliding_triangle().gltf(source / "torn.gltf", embedded=False)
    (source / "buffer data.bin").unlink()
    curate_source(source)
    clips = decided_clips()
    assert clips.loc["empty--unreadable", "reason"] == "invalid"
    assert clips.loc["torn--slide", "reason"] == "invalid"
    assert "cannot read its file" in clips.loc["torn--slide", "message"]


def test_an_accepted_clip_is_stored_normalised_with_points(source: Path) -> None:
    write_good(source)
    file = sliding_triangle("go", distance=3.0)
    texture = file.image(np.full((4, 4, 3), 80))
    file.entry("materials", pbrMetallicRoughness={"baseColorTexture": {"index": texture}})
    file.json["meshes"][0]["primitives"][0]["material"] = 0
    file.glb(source / "car.glb")
    curate_source(source)
    mesh, clip = AnimatedMesh.load(Workspace().curated / "car--go.npz"), decided_clips().loc["car--go"]
    # Along x from 0 to 4 over the clip, so the unit is 4 long; up (y in the file) is z.
    np.testing.assert_allclose(mesh.vertices[0], [[-0.5, 0, -0.125], [-0.25, 0, -0.125], [-0.5, 0, 0.125]], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices[3, 0], [0.25, 0, -0.125], atol=1e-6)
    assert mesh.points is not None
    assert mesh.points.shape == (4, 16, 3)
    assert np.abs(mesh.points).max() <= 0.5
    assert clip["motion"] == pytest.approx(0.75, abs=1e-6)
    assert (clip["num_vertices"], clip["num_triangles"]) == (3, 1)
    assert mesh.textures[0].shape == (2, 2, 4)  # curate.max_texture_size
    assert mesh.times.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_assets_of_public_test_sets_never_reach_a_split(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_good(source, 4)
    listed = next(asset.asset_id for asset in reserved_assets() if asset.asset_id)
    sliding_triangle("walk", height=3.0).glb(source / f"{listed.upper()}.glb")
    curate_source(source)
    clips = decided_clips()
    assert (clips.loc[f"{listed}--walk", "decision"], clips.loc[f"{listed}--walk", "reason"]) == (
        "rejected",
        "reserved",
    )
    assert "never trained on" in clips.loc[f"{listed}--walk", "message"]
    mesh = clips.loc["good2--slide2", "mesh_sha256"]
    for folder, name in (("other", listed), (listed, "scene")):  # of equal name elsewhere; in a folder named by the id
        (source / folder).mkdir()
        sliding_triangle("walk", height=3.0).glb(source / folder / f"{name}.glb")
    curate_source(source)
    clips = decided_clips()
    assert clips[clips["reason"] == "reserved"]["family"].tolist() == [
        listed.upper(),
        f"{listed}/scene",
        f"other/{listed}",
    ]
    skull = ReservedAsset("consistent4d", "skull", "", mesh, "by mesh")
    monkeypatch.setattr("gvf.data.curation.reserved.reserved_assets", lambda: (skull,))
    curate_source(source)
    clips = decided_clips()
    assert clips[clips["reason"] == "reserved"].index.tolist() == ["good2--slide2"]
    assert "skull of the test set consistent4d" in clips.loc["good2--slide2", "message"]


def test_a_file_of_a_public_test_set_is_known_by_its_digest_with_side_files_too(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_good(source)
    path = sliding_triangle("walk").gltf(source / "chair.gltf", embedded=False)
    chair = ReservedAsset("gvf", "chair", sha256(path), "", "by its file")
    monkeypatch.setattr("gvf.data.curation.reserved.reserved_assets", lambda: (chair,))
    curate_source(source)
    assert decided_clips().loc["chair--walk", "reason"] == "reserved"


def test_too_few_clips_stop_the_run_and_say_why(source: Path) -> None:
    write_good(source, 1)
    _one_key().glb(source / "pose.glb")
    with pytest.raises(
        StageError, match=r"only 1 of 2 clips were accepted \(1 for motion; first: 'pose' has a single key"
    ):
        curate_source(source)
    assert not Workspace().curated.exists()


def test_a_process_pool_decides_the_same(source: Path) -> None:
    write_good(source, 4)
    curate_source(source)
    inline = decided_clips()
    digest = (Workspace().curated / "good1--slide1.npz").read_bytes()
    curate_source(source, executor="process")
    assert inline.equals(decided_clips())
    assert (Workspace().curated / "good1--slide1.npz").read_bytes() == digest


def test_clips_are_scored_where_the_weights_are(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scorer itself is tested with its module; here its verdict is the mean brightness of the views."""
    write_good(source)
    dark = sliding_triangle("dark")
    dark.entry("materials", doubleSided=True, pbrMetallicRoughness={"baseColorFactor": [0, 0, 0, 1]})
    dark.json["meshes"][0]["primitives"][0]["material"] = 0
    dark.glb(source / "dark.glb")

    def absent() -> AestheticWeights:
        raise FileNotFoundError("head.pth")

    monkeypatch.setattr(curate, "find_weights", absent)
    assert curate_source(source)["accepted"] == 3
    assert (decided_clips()["aesthetic_note"] == "not scored: head.pth absent").all()
    assert decided_clips()["aesthetic_score"].isna().all()

    shapes = []

    class Brightness:
        def score(self, images: np.ndarray) -> np.ndarray:
            shapes.append(images.shape)
            return images.astype(float).min(axis=(1, 2, 3)) / 255.0 * 10.0

    monkeypatch.setattr(curate, "find_weights", lambda: AestheticWeights(Path("head"), Path("clip")))
    monkeypatch.setattr(curate, "load_scorer", lambda weights: Brightness())
    metrics = curate_source(source)
    clips = decided_clips()
    assert (metrics["accepted"], metrics["rejected_aesthetic"]) == (2, 1)
    assert clips.loc["dark--dark", "reason"] == "aesthetic"
    assert clips.loc["dark--dark", "aesthetic_score"] < 5.5 < clips.loc["good0--slide0", "aesthetic_score"]
    assert clips["aesthetic_note"].isna().all()
    assert shapes == [(4, 224, 224, 3)] * 3


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"num_frames": 1}, "curate.num_frames"),
        ({"min_motion": 0.0}, "curate.min_motion"),
        ({"held_out_fraction": 1.0}, "curate.held_out_fraction"),
        ({"split_by": "file"}, "curate.split_by"),
        ({"max_clips": 1}, "curate.max_clips"),
    ],
)
def test_bad_settings_name_their_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(CurateConfig, {**CONFIG, **change}, "curate")
    assert caught.value.key == key


def test_still_poses_of_a_real_character_are_rejected_for_their_motion(source: Path, shared: Path) -> None:
    (source / "Knight.glb").write_bytes((shared / "data" / "kaykit" / "Knight.glb").read_bytes())
    curate_source(source, max_triangles=20_000, max_texture_size=64, split_by="animation")
    clips = decided_clips().reset_index().set_index("animation")
    still = [name for name in clips.index if name.endswith("Pose")]
    assert len(still) == 7
    assert (clips.loc[still, "reason"] == "motion").all()
    moving = ["Running_A", "2H_Melee_Attack_Spinning", "Walking_A", "Jump_Full_Long", "Death_A"]
    assert (clips.loc[moving, "decision"] == "accepted").all()
    assert (clips["decision"] == "accepted").sum() >= 60


def _several_clips(names: list[str]) -> GltfFile:
    file = sliding_triangle(names[0])
    for index, name in enumerate(names[1:], 1):
        file.animation(name)
        file.channel(index, 0, "translation", [0, 1], [[0, 0, 0], [3, 0, 0]])
    return file


def test_a_clip_that_kills_its_worker_costs_neither_its_asset_nor_another(source, monkeypatch):
    """By any exception, or with its process: the other clips of its file are kept."""
    monkeypatch.setattr(asset_map, "curate_asset", deadly_curation.curate_asset)
    _several_clips(["slide", "deadly", "hop", "odd"]).glb(source / "several.glb")
    write_good(source)
    metrics = curate_source(source, executor="process")
    clips = decided_clips()
    assert set(clips[clips["decision"] == "accepted"].index) == {
        "good0--slide0",
        "good1--slide1",
        "several--hop",
        "several--slide",
    }
    dead, odd = clips.loc["several--deadly"], clips.loc["several--odd"]
    assert (dead["reason"], dead["exception"]) == ("crashed", "ProcessExpired")
    assert dead["message"] == "its worker process ended with exit code 3."
    assert (odd["reason"], odd["exception"], odd["num_triangles"]) == ("failed", "AttributeError", 1)
    assert (metrics["rejected"], metrics["rejected_crashed"], metrics["rejected_failed"]) == (2, 1, 1)
    assert {path.stem for path in Workspace().curated.glob("*.npz")} == set(clips[clips["split"].notna()].index)


def test_an_asset_that_cannot_be_loaded_is_lost_as_a_whole(source, monkeypatch):
    monkeypatch.setattr(asset_map, "curate_asset", deadly_curation.curate_cursed)
    monkeypatch.setattr(asset_map, "try_asset", deadly_curation.try_asset)
    _several_clips(["slide", "hop"]).glb(source / "cursed.glb")
    write_good(source)
    curate_source(source, executor="process")
    clips = decided_clips()
    assert clips.loc[["cursed--slide", "cursed--hop"], "reason"].tolist() == ["crashed", "crashed"]
    assert clips.loc[["good0--slide0", "good1--slide1"], "decision"].tolist() == ["accepted", "accepted"]


def test_the_manifest_names_the_exception_of_a_rejected_clip(source):
    write_good(source)
    (source / "noise.glb").write_bytes(b"no glTF")
    curate_source(source, max_clips=2)
    clips = decided_clips()
    assert clips.loc["noise--unreadable", ["reason", "exception"]].tolist() == ["invalid", "ClipError"]
    assert clips.loc[["good0--slide0", "good1--slide1"], "exception"].isna().all()
