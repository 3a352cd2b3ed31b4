"""`gvf export`: what each format's files hold, read by other libraries, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from plyfile import PlyData

from gvf.cli.export import command
from gvf.errors import UserError
from gvf.formats.asset_glb import load_asset_glb, save_asset_glb
from gvf.gaussians.gaussians import Gaussians
from gvf.gaussians.ply import load_ply, save_ply
from gvf.pipelines.asset_export import export_asset
from gvf.rendering.moments import draw_moments
from tests.formats.moving import moving_object, picture, psnr
from tests.pipelines.test_asset_manifest import CAMERA, some_manifest

RATE = 12.0
SEQUENCE = re.compile(r"(.*?)(\d+)(?:\.compressed)?\.ply$")  # how SuperSplat's editor recognises frames of one sequence


@pytest.fixture(scope="module")
def gaussians() -> Gaussians:
    return moving_object(300)


@pytest.fixture
def asset(tmp_path: Path, gaussians: Gaussians) -> Path:
    """The folder of an asset of 3 frames."""
    folder = tmp_path / "walk"
    folder.mkdir()
    save_asset_glb(folder / "asset.glb", gaussians, RATE)
    save_ply(folder / "canonical.ply", gaussians[0])
    some_manifest(num_gaussians=300, frames_per_second=RATE).save(folder)
    return folder


def run(*arguments: str | Path) -> str:
    return CliRunner().invoke(command, [str(one) for one in arguments], catch_exceptions=False).stdout


def decoded(path: Path) -> Iterator[np.ndarray]:
    """Yield the frames of a video, RGBA."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.codec_context.name == "vp9":  # FFmpeg's own decoder drops alpha
            reader = av.CodecContext.create("libvpx-vp9", "r")
            for packet in container.demux(stream):
                yield from (frame.to_ndarray(format="rgba") for frame in reader.decode(packet if packet.size else None))
        else:
            yield from (frame.to_ndarray(format="rgba") for frame in container.decode(stream))


def test_ply_is_a_folder_of_frames_that_an_editor_takes_as_a_sequence(asset: Path, gaussians: Gaussians) -> None:
    output = run(asset, "--format", "ply")
    folder = asset.parent / "walk-ply"
    assert re.search(rf"{folder}: 3 files, 0\.06\d* MB", output)
    names = sorted(path.name for path in folder.iterdir())
    found = [SEQUENCE.match(name) for name in names]
    assert {match[1] for match in found if match} == {"frame_"}
    assert [int(match[2]) for match in found if match] == [0, 1, 2]
    for index, name in enumerate(names):
        content = PlyData.read(folder / name)
        assert content["vertex"].count == 300
        assert content.comments[0] == "written by gvf; 12 frames per second"
        assert psnr(picture(load_ply(folder / name)), picture(gaussians[index])) > 50


@pytest.mark.parametrize(("name", "row"), [("ply", 68), ("splat", 32), ("spz", 0)])
def test_one_frame_is_one_file_and_a_range_keeps_its_numbers(asset: Path, name: str, row: int) -> None:
    run(asset, "--format", name, "--frames", "1", "-o", asset.parent / f"one.{name}")
    size = (asset.parent / f"one.{name}").stat().st_size
    assert size > 0 if row == 0 else size // 300 == row + (1 if name == "ply" else 0)
    run(asset, "--format", name, "--frames", "1-2", "-o", asset.parent / "some")
    assert sorted(path.name for path in (asset.parent / "some").iterdir()) == [f"frame_000{n}.{name}" for n in (1, 2)]
    assert (asset.parent / "some" / f"frame_0001.{name}").read_bytes() == (asset.parent / f"one.{name}").read_bytes()


def test_glb_is_the_same_file_or_a_part_of_it(asset: Path, gaussians: Gaussians) -> None:
    run(asset, "--format", "glb")
    assert (asset.parent / "walk.glb").read_bytes() == (asset / "asset.glb").read_bytes()
    run(asset / "asset.glb", "--format", "glb", "--frames", "2", "-o", asset.parent / "last.glb")
    last = load_asset_glb(asset.parent / "last.glb")
    assert len(last.gaussians.means) == 1
    assert last.frames_per_second == RATE
    assert psnr(picture(last.gaussians[0]), picture(gaussians[2])) > 45


def test_usd_holds_the_manifests_camera_and_rate(asset: Path) -> None:
    from pxr import Usd, UsdGeom

    run(asset, "--format", "usd")
    stage = Usd.Stage.Open(str(asset.parent / "walk.usdc"))
    assert stage.GetTimeCodesPerSecond() == RATE
    camera = UsdGeom.Camera(stage.GetPrimAtPath("/asset/input_camera")).GetCamera(0)
    assert camera.GetFieldOfView(type(camera).FOVVertical) == pytest.approx(CAMERA.fov, rel=1e-5)
    assert np.linalg.norm(camera.frustum.position) == pytest.approx(CAMERA.radius)


def test_a_turntable_lasts_whole_repetitions_of_the_motion(asset: Path) -> None:
    run(asset, "--format", "mp4", "--size", "64", "--seconds", "0.6")
    with av.open(str(asset.parent / "walk.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 64, 64)
        assert (float(stream.average_rate), stream.frames) == (RATE, 9)  # 7.2 frames, rounded up to 3 x 3
    if shutil.which("ffprobe"):
        asked = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", str(asset.parent / "walk.mp4")]
        stream = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)["streams"][0]
        assert (stream["codec_name"], stream["nb_frames"], stream["r_frame_rate"]) == ("h264", "9", "12/1")


def test_the_view_of_the_input_shows_what_its_camera_sees(asset: Path, gaussians: Gaussians) -> None:
    run(asset, "--format", "mp4", "--size", "96", "--view", "input", "--background", "#204060")
    frames = list(decoded(asset.parent / "walk.mp4"))
    color = (0x20 / 255, 0x40 / 255, 0x60 / 255)
    expected = list(draw_moments(gaussians, range(3), [CAMERA] * 3, 96, background=color))
    assert len(frames) == 3
    assert min(psnr(frame[..., :3], image) for frame, image in zip(frames, expected)) > 25  # colours at half resolution


def test_webm_keeps_transparency(asset: Path, gaussians: Gaussians) -> None:
    run(asset, "--format", "webm", "--size", "64", "--view", "-30,10", "--background", "transparent")
    frames = list(decoded(asset.parent / "walk.webm"))
    assert len(frames) == 3
    assert frames[0][0, 0, 3] == 0
    assert frames[0][..., 3].max() > 200
    with av.open(str(asset.parent / "walk.webm")) as container:
        assert container.streams.video[0].codec_context.name == "vp9"
        assert container.streams.video[0].metadata["alpha_mode"] == "1"


def test_an_output_that_exists_is_kept_unless_it_may_be_replaced(asset: Path) -> None:
    video = asset.parent / "walk.glb"
    video.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"exists already.*--overwrite"):
        run(asset, "--format", "glb")
    assert video.read_bytes() == b"mine"
    run(asset, "--format", "glb", "--overwrite")
    assert video.read_bytes() != b"mine"
    folder = asset.parent / "walk-spz"
    run(asset, "--format", "spz")
    with pytest.raises(UserError, match="exists already"):
        run(asset, "--format", "spz")
    run(asset, "--format", "spz", "--frames", "0-1", "--overwrite")
    assert len(list(folder.iterdir())) == 2
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        run(asset, "--format", "spz", "--overwrite")
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "ply", "-o", "{}/walk"], "belongs to the asset itself"),
        (["--format", "glb", "-o", "{}/walk/asset.glb", "--overwrite"], "belongs to the asset itself"),
        (["--format", "mp4", "-o", "{}/walk/../walk/manifest.json", "--overwrite"], "belongs to the asset itself"),
        (["--format", "ply", "-o", "{}", "--overwrite"], "holds other files"),
        (["--format", "ply", "-o", "{}/all.ply"], "one frame per file"),
        (["--format", "ply", "--frames", "0", "-o", "{}/frame.spz"], r"ends in \.ply"),
        (["--format", "usd", "-o", "{}/a.mp4"], r"ends in \.usdc or \.usda or \.usd"),
        (["--format", "glb", "-o", "{}/walk.glb/a.glb"], "cannot be written"),
        (["--format", "ply", "--frames", "3"], "0 to 2"),
        (["--format", "ply", "--frames", "2-1"], "0 to 2"),
        (["--format", "ply", "--frames", "first"], "neither all"),
        (["--format", "ply", "--frames", "-1"], "neither all"),
        (["--format", "mp4", "--background", "transparent"], "no transparency"),
        (["--format", "mp4", "--background", "blueish"], "not a colour"),
        (["--format", "mp4", "--view", "front"], "neither turntable"),
        (["--format", "mp4", "--view", "0,91"], "elevation"),
        (["--format", "mp4", "--view", "nan,0"], "neither turntable"),
    ],
)
def test_what_cannot_be_written_is_refused_with_advice(asset: Path, arguments: list[str], message: str) -> None:
    (asset.parent / "walk.glb").write_bytes(b"mine")
    before = sorted(asset.parent.rglob("*"))
    with pytest.raises(UserError, match=message):
        run(asset, *(argument.format(asset.parent) for argument in arguments))
    assert sorted(asset.parent.rglob("*")) == before


def test_options_without_effect_are_refused(asset: Path) -> None:
    for arguments, message in (
        (["--format", "ply", "--size", "64"], "--size has no effect"),
        (["--format", "mp4", "--view", "input", "--seconds", "3"], "--seconds has an effect on --view turntable only"),
        (["--format", "gif"], "'gif' is not one of"),
    ):
        done = CliRunner().invoke(command, [str(asset), *arguments])
        assert done.exit_code == 2
        assert message in done.output


def test_the_view_of_the_input_needs_its_camera(asset: Path) -> None:
    with pytest.raises(UserError, match=r"not known\. Use another view"):
        run(asset / "asset.glb", "--format", "mp4", "--view", "input", "-o", asset.parent / "a.mp4")
    facts = {"camera": {"azimuth": 20.0, "elevation": 0.0, "radius": 2.0, "fov": 40.0}}
    save_asset_glb(asset / "asset.glb", load_asset_glb(asset / "asset.glb").gaussians, RATE, facts)
    run(asset / "asset.glb", "--format", "mp4", "--view", "input", "--size", "32", "-o", asset.parent / "a.mp4")
    assert len(list(decoded(asset.parent / "a.mp4"))) == 3


def test_the_output_is_named_after_the_asset_wherever_the_user_is(asset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(asset.parent)
    assert run("walk/", "--format", "splat", "-q") == ""
    assert json.loads(run("walk", "--format", "spz", "--json"))["output"] == "walk-spz"
    monkeypatch.chdir(asset)
    assert json.loads(run(".", "--format", "usd", "--json"))["output"] == str(asset.parent / "walk.usdc")
    with pytest.raises(UserError, match="exists already"):
        run(".", "--format", "splat")
    with pytest.raises(UserError, match="'gif' is not an export format"):
        export_asset(".", "gif")


def test_what_is_no_asset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        run(tmp_path / "missing", "--format", "ply")
    with pytest.raises(UserError, match=r"manifest\.json"):
        run(tmp_path, "--format", "ply")


def test_scripts_get_json_and_quiet_users_get_nothing(asset: Path) -> None:
    done = CliRunner().invoke(command, [str(asset), "--format", "splat", "--json"], catch_exceptions=False)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(event["event"], event["step"]) for event in events if event["event"] in ("begin", "end")] == [
        ("begin", "read"),
        ("end", "read"),
        ("begin", "write"),
        ("end", "write"),
    ]
    folder = asset.parent / "walk-splat"
    assert json.loads(done.stdout) == {"output": str(folder), "files": 3, "bytes": 3 * 300 * 32}
    done = CliRunner().invoke(command, [str(asset), "--format", "spz", "-q"], catch_exceptions=False)
    assert done.output == ""
