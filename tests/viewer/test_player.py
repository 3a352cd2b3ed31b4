"""The player in a real browser: its images are those of our rasteriser, and its controls do what they say."""

from __future__ import annotations

import io
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Playwright, sync_playwright

from gvf.formats.asset_glb import load_asset_glb, save_asset_glb
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import OrbitCamera
from gvf.rendering.convention import COMPENSATE, LOW_PASS
from gvf.rendering.rasterize import rasterize
from gvf.video.writing import write_video
from gvf.viewer import page as pages
from gvf.viewer.server import Site, address, open_server
from tests.viewer.browser import Visit, launched
from tests.viewer.moving import FRAMES_PER_SECOND, moving_gaussians

FRAMES = 8
INPUT = OrbitCamera(azimuth=30.0, elevation=10.0, radius=2.0, fov=49.1, shift=(0.05, -0.02))
LEAST_PSNR = 50.0  # dB; what is left is the rounding to 8 bits, and sums in 16-bit floats


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An asset's folder: its file, its page, and pages with something wrong."""
    folder = tmp_path_factory.mktemp("asset")
    facts = {"camera": asdict(INPUT), "seed": 7}
    save_asset_glb(folder / "asset.glb", moving_gaussians(FRAMES, 2000), FRAMES_PER_SECOND, facts)
    greys = (np.arange(FRAMES) * 30).astype(np.uint8)
    write_video(
        folder / "input.webm", np.broadcast_to(greys[:, None, None, None], (FRAMES, 64, 64, 3)), FRAMES_PER_SECOND
    )
    asset, video = (folder / "asset.glb").read_bytes(), (folder / "input.webm").read_bytes()
    pages.write_page(folder / "index.html", asset, title="A <moving> blob", video=video, facts=facts)
    pages.write_page(folder / "broken.html", asset[: len(asset) // 2], title="Broken", facts={})
    damaged = asset[:-2000] + bytes(2000)  # in the packed frames after the first
    pages.write_page(folder / "damaged.html", damaged, title="Damaged", facts={})
    save_asset_glb(folder / "still.glb", moving_gaussians(1, 50), 1.0, {"camera": {"azimuth": "left", "shift": 3}})
    still = (folder / "still.glb").read_bytes()
    pages.write_page(folder / "still.html", still, title="Still", video=b"no video", facts={})
    (folder / "beside.html").write_text(pages.page("Beside", {}, asset="asset.glb", video="input.webm"))
    (folder / "lost.html").write_text(pages.page("Lost", {}, asset="nowhere.glb"))
    return folder


@pytest.fixture(scope="module")
def moving(folder) -> Gaussians:
    """The Gaussians of the file, as Python reads it."""
    return load_asset_glb(folder / "asset.glb").gaussians


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="module")
def browser(playwright, chromium) -> Iterator[Browser]:
    with launched(playwright, chromium) as found:
        yield found


@pytest.fixture(scope="module")
def site(folder) -> Iterator[str]:
    with open_server(Site(folder, {})) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield address(server)
        server.shutdown()


@pytest.fixture(scope="module")
def visit(browser, folder) -> Iterator[Visit]:
    """The page from its file, paused. At the end it must have asked for nothing else and complained of nothing."""
    visit = Visit(browser, (folder / "index.html").as_uri(), reduced_motion="reduce")
    yield visit
    assert visit.foreign == []
    assert visit.complaints == []
    visit.page.close()


def ours(gaussians: Gaussians, camera: OrbitCamera, width: int, height: int, level: float | None = 1.0) -> np.ndarray:
    """Return our rasteriser's image in [0, 1]: RGB over a grey level, or premultiplied RGBA."""
    side = min(width, height)
    focal, shares = camera.K[0, 0] * side, (side / width, side / height)
    K = np.diag([focal / width, focal / height, 1.0])
    K[:2, 2] = [0.5 + shift * share for shift, share in zip(camera.shift, shares)]
    drawn = rasterize(
        gaussians.means,
        gaussians.quats,
        gaussians.scales,
        gaussians.opacities,
        gaussians.rgb.clamp(max=1),
        torch.from_numpy(camera.viewmat)[None].float(),
        torch.from_numpy(K)[None].float(),
        width,
        height,
        background=None if level is None else torch.full((3,), level),
        low_pass=LOW_PASS,
        compensate=COMPENSATE,
    )
    image = drawn.rgb if level is not None else torch.cat([drawn.rgb, drawn.alpha[..., None]], -1)
    return image[0].clamp(0, 1).numpy()


def psnr(image: np.ndarray, reference: np.ndarray) -> float:
    return -10 * math.log10(float(np.mean((image / 255.0 - reference) ** 2)))


def screenshot(visit: Visit) -> np.ndarray:
    """Return what the browser shows of the canvas, with the bars out of the way: their heights are not whole pixels."""
    bars = "for (const bar of document.querySelectorAll('header, footer')) bar.hidden = {}"
    visit.page.evaluate(bars.format("true"))
    visit.page.evaluate("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve, 50)))")  # sizes first
    visit.state("player.settled()")
    image = Image.open(io.BytesIO(visit.page.locator("#view").screenshot())).convert("RGB")
    visit.page.evaluate(bars.format("false"))
    return np.asarray(image)


def camera_of(camera: OrbitCamera) -> dict[str, object]:
    return {**asdict(camera), "target": [0, 0, 0]}


@pytest.mark.parametrize("frame", [0, 3, 7])
@pytest.mark.parametrize(
    ("camera", "width", "height"),
    [
        (INPUT, 256, 256),
        (OrbitCamera(-75.0, 0.0, 2.0, 49.1), 256, 256),
        (OrbitCamera(195.0, 60.0, 1.2, 70.0, (-0.2, 0.1)), 320, 200),
    ],
)
def test_images_are_those_of_our_rasteriser(visit, moving, frame, camera, width, height):
    image = visit.pixels(frame=frame, camera=camera_of(camera), width=width, height=height, background="white")
    assert image[..., 3].min() == 255
    assert psnr(image[..., :3], ours(moving[frame], camera, width, height)) >= LEAST_PSNR


def test_a_camera_among_the_gaussians_drops_those_behind_it(visit, moving):
    camera = OrbitCamera(10.0, 5.0, 0.3, 80.0)
    image = visit.pixels(frame=2, camera=camera_of(camera), width=200, height=200, background="black")
    assert psnr(image[..., :3], ours(moving[2], camera, 200, 200, 0.0)) >= LEAST_PSNR


def test_a_transparent_image_has_straight_alpha(visit, moving):
    image = visit.pixels(frame=1, camera=camera_of(INPUT), width=200, height=200, background="transparent") / 255.0
    expected = ours(moving[1], INPUT, 200, 200, None)
    premultiplied = np.concatenate([image[..., :3] * image[..., 3:], image[..., 3:]], -1)
    assert psnr(premultiplied * 255, expected) >= 48  # colour and alpha are rounded before they are multiplied
    assert expected[..., 3].min() < 0.01


def test_what_the_page_shows_is_the_same_image(visit, moving):
    visit.state("Object.assign(player, { frame: 5, background: 'grey', camera: player.inputCamera })")
    image = screenshot(visit)
    expected = ours(moving[5], INPUT, image.shape[1], image.shape[0], 128 / 255)
    assert psnr(image, expected) >= LEAST_PSNR


@pytest.mark.parametrize("name", ["index.html", "beside.html"])
def test_a_server_can_send_the_page_too(browser, site, moving, name):
    visit = Visit(browser, site + name, reduced_motion="reduce")
    image = visit.pixels(frame=3, camera=camera_of(INPUT), width=128, height=128, background="white")
    assert psnr(image[..., :3], ours(moving[3], INPUT, 128, 128)) >= LEAST_PSNR
    assert (visit.foreign, visit.complaints) == ([], [])
    visit.page.close()


def test_the_page_names_what_it_shows(visit):
    assert visit.page.title() == "A <moving> blob"
    assert visit.page.inner_text("#summary") == "8 frames · 2,000 Gaussians"
    visit.page.click("[data-action=details]")
    assert "Seed\n7" in re.sub(r"\s*\n\s*", "\n", visit.page.inner_text("#facts"))
    visit.page.keyboard.press("Escape")
    visit.page.keyboard.press("?")
    assert "Play or pause" in visit.page.inner_text("#keys")
    visit.page.keyboard.press("Escape")
    assert not visit.page.is_visible("dialog")


def test_play_runs_and_pause_holds(visit):
    visit.state("player.frame = 0")
    assert visit.state("player.playing") is False  # reduced motion is wished for
    visit.page.click("#play")
    visit.wait("player.frame >= 2")
    assert visit.page.get_attribute("#play", "aria-label") == "Pause"
    visit.page.click("#play")
    frame = visit.state("player.frame")
    visit.page.wait_for_timeout(250)
    assert visit.state("player.frame") == frame


def test_a_page_plays_by_itself_where_motion_is_welcome(browser, folder):
    visit = Visit(browser, (folder / "index.html").as_uri(), reduced_motion="no-preference")
    visit.wait("player.playing && player.frame > 0")
    visit.page.close()


def test_the_slider_seeks(visit):
    visit.page.evaluate("document.getElementById('time').focus()")
    visit.page.keyboard.press("Home")
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("ArrowRight")
    assert visit.state("[player.frame, player.playing]") == [2, False]
    assert visit.page.inner_text("#clock") == "3 / 8"
    visit.page.fill("#time", "6")
    assert visit.state("player.frame") == 6


@pytest.mark.parametrize(
    ("keys", "expression", "expected"),
    [
        ([".", "."], "player.frame", 2),
        ([","], "player.frame", 7),
        (["End"], "player.frame", 7),
        (["End", "."], "player.frame", 0),
        (["End", "Home"], "player.frame", 0),
        (["Space"], "player.playing", True),
        (["]", "]", "]"], "player.speed", 2.0),
        (["["], "player.speed", 0.5),
        (["l"], "player.mode", "bounce"),
        (["m"], "player.interpolated", True),
        (["b"], "player.background", "grey"),
        (["c"], "[player.camera.azimuth, player.camera.shift]", [30.0, [0.05, -0.02]]),
        (["c", "ArrowRight"], "player.camera.azimuth", 35.0),
        (["c", "ArrowUp"], "player.camera.elevation", 15.0),
        (["+"], "Math.round(player.camera.radius * 100) / 100", 1.82),
        (["c", "r"], "player.camera.azimuth", 20.0),
    ],
)
def test_keys(visit, keys, expression, expected):
    visit.state(
        "Object.assign(player, { frame: 0, speed: 1, mode: 'loop', interpolated: false, background: 'white',"
        " camera: player.home })"
    )
    visit.state("player.pause()")
    visit.page.evaluate("document.activeElement.blur()")
    for key in keys:
        visit.page.keyboard.press(key)
    assert visit.state(expression) == expected
    visit.state("player.pause()")


def test_dragging_turns_moves_and_zooms(visit):
    visit.state("Object.assign(player, { camera: player.home })")
    box = visit.page.locator("#view").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    mouse = visit.page.mouse
    mouse.move(x, y)
    mouse.down()
    mouse.move(x - 40, y + 20)
    mouse.up()
    side = min(box["width"], box["height"])
    turned = visit.state("[player.camera.azimuth, player.camera.elevation]")
    assert turned == pytest.approx([20 + 40 / side * 180, 15 + 20 / side * 180])
    mouse.move(x, y)
    mouse.down(button="right")
    mouse.move(x + 30, y)
    mouse.up(button="right")
    camera = visit.state("player.camera")
    assert camera["azimuth"] == pytest.approx(turned[0])
    reach = 2 * math.tan(math.radians(49.1 / 2)) * 2.0  # object units that the shorter side shows
    moved = -30 / side * reach
    a = math.radians(camera["azimuth"])
    assert camera["target"] == pytest.approx([moved * math.cos(a), moved * math.sin(a), 0], abs=1e-9)
    mouse.wheel(0, -200)
    visit.wait("Math.abs(player.camera.radius - 2 * Math.exp(-0.3)) < 1e-9")
    mouse.dblclick(x, y)
    assert visit.state("player.camera") == visit.state("player.home")


def test_two_fingers_move_and_zoom(browser, folder):
    visit = Visit(browser, (folder / "index.html").as_uri(), has_touch=True, reduced_motion="reduce")
    visit.state("Object.assign(player, { camera: player.home })")
    box = visit.page.locator("#view").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    session = visit.page.context.new_cdp_session(visit.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": px, "y": py, "id": finger} for finger, (px, py) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    touch("touchStart", (x - 20, y), (x + 20, y))
    touch("touchMove", (x - 40, y), (x + 40, y))
    touch("touchEnd")
    visit.wait("player.camera.radius < 1.5")
    camera = visit.state("player.camera")
    assert camera["radius"] == pytest.approx(1.0, rel=0.05)  # twice as far apart, half the distance
    assert camera["azimuth"] == 20
    assert camera["target"] == pytest.approx([0, 0, 0], abs=0.02)
    touch("touchStart", (x, y))
    touch("touchMove", (x - 30, y))
    touch("touchEnd")
    visit.wait("player.camera.azimuth > 25")
    visit.page.close()


def test_backgrounds(visit):
    visit.page.check("input[name=background][value=black]")
    assert visit.pixels(width=8, height=8, camera={"radius": 90})[0, 0].tolist() == [0, 0, 0, 255]
    visit.page.fill("#color", "#204060")
    assert visit.pixels(width=8, height=8, camera={"radius": 90})[0, 0].tolist() == [0x20, 0x40, 0x60, 255]
    visit.page.check("input[name=background][value=transparent]")
    assert visit.pixels(width=8, height=8, camera={"radius": 90})[0, 0].tolist() == [0, 0, 0, 0]
    with pytest.raises(Exception, match="A background is one of white"):
        visit.state("(player.background = 'url(x)')")
    visit.page.check("input[name=background][value=white]")


def test_the_view_is_saved_as_a_png(visit, moving):
    visit.state("Object.assign(player, { frame: 4, camera: player.inputCamera, background: 'white' })")
    with visit.page.expect_download() as download:
        visit.page.click("#save")
    assert download.value.suggested_filename == "A-moving-blob-5.png"
    image = np.asarray(Image.open(download.value.path()))
    assert image.shape[2] == 4
    assert psnr(image[..., :3], ours(moving[4], INPUT, image.shape[1], image.shape[0])) >= LEAST_PSNR


def test_frames_are_mixed_linearly(visit, moving):
    visit.state(
        "Object.assign(player, { frame: 2.25, interpolated: true, background: 'white', camera: player.inputCamera })"
    )
    image = screenshot(visit)
    before, after = moving[2], moving[3]
    aligned = after.quats * torch.sign((before.quats * after.quats).sum(-1, keepdim=True))
    mixed = Gaussians.from_rendered(
        means=torch.lerp(before.means, after.means, 0.25),
        colors=torch.lerp(before.colors, after.colors, 0.25),
        scales=torch.lerp(before.scales, after.scales, 0.25),
        quats=torch.lerp(before.quats, aligned, 0.25),
        opacities=torch.lerp(before.opacities, after.opacities, 0.25),
        activation=moving.activation,
    )
    assert psnr(image, ours(mixed, INPUT, image.shape[1], image.shape[0])) >= LEAST_PSNR
    visit.state("(player.interpolated = false)")


def test_a_still_object_without_a_usable_camera_and_video_is_shown(browser, folder):
    visit = Visit(browser, (folder / "still.html").as_uri())
    assert visit.page.inner_text("#summary") == "1 frame · 50 Gaussians"
    assert visit.page.is_disabled("#play")
    assert visit.page.is_disabled("#time")
    visit.page.wait_for_selector("#beside:disabled")
    for name in ("#over", "#inputCamera", "#video", "#message"):
        assert not visit.page.is_visible(name), name
    visit.page.keyboard.press(" ")
    visit.page.keyboard.press(".")
    assert visit.state("[player.playing, player.frame, player.camera.azimuth]") == [False, 0, 20]
    assert visit.pixels(width=64, height=64)[..., :3].min() < 250
    visit.page.close()


def test_bounce_runs_back(visit):
    visit.state("Object.assign(player, { frame: 6, mode: 'bounce', speed: 1 })")
    visit.state("player.play()")
    visit.wait("player.backwards && player.frame < 5")
    visit.state("player.pause()")
    visit.state("(player.mode = 'loop')")


def test_the_input_video_follows(visit):
    assert visit.page.is_visible("#video")
    for frame in (5, 1):
        visit.state(f"(player.frame = {frame})")
        middle = (frame + 0.5) / FRAMES_PER_SECOND
        video = "document.getElementById('video')"
        visit.wait(f"!{video}.seeking && Math.abs({video}.currentTime - {middle}) < 0.02")
    visit.page.click("#over")
    image = screenshot(visit)
    left, top = (image.shape[1] - image.shape[0]) // 2, 0
    assert image[top + 4, left + 4] == pytest.approx([30, 30, 30], abs=4)  # the video's second frame, behind the object
    assert image[top + 4, left - 4].min() > 200  # beside it, the checkerboard
    assert visit.page.get_attribute("#stage", "data-video") == "over"
    assert visit.state("[player.background, player.camera.azimuth]") == ["transparent", 30.0]
    visit.page.click("#beside")
    assert visit.page.get_attribute("#stage", "data-video") == "beside"
    visit.page.click("#beside")
    assert not visit.page.is_visible("#video")
    visit.page.keyboard.press("v")
    assert visit.page.is_visible("#video")


def test_a_lost_device_comes_back(visit, moving):
    visit.page.evaluate(
        """async () => {
          const canvas = document.getElementById("view");
          const device = canvas.getContext("webgl2").getExtension("WEBGL_lose_context");
          const back = new Promise((resolve) => canvas.addEventListener("webglcontextrestored", resolve, { once: true }));
          canvas.addEventListener("webglcontextlost", () => setTimeout(() => device.restoreContext(), 0), { once: true });
          device.loseContext();
          await back;
        }"""
    )
    image = visit.pixels(frame=3, camera=camera_of(INPUT), width=128, height=128, background="white")
    assert psnr(image[..., :3], ours(moving[3], INPUT, 128, 128)) >= LEAST_PSNR
    visit.complaints[:] = [text for text in visit.complaints if "CONTEXT_LOST_WEBGL" not in text]


def test_wrong_wishes_are_refused(visit):
    for wish, message in (
        ("player.render({ frame: 8 })", "frames 0 to 7"),
        ("player.render({ width: 0 })", "a width and a height from 1"),
        ("(player.camera = { azimuth: NaN })", "finite numbers"),
        ("(player.camera = { shift: 1 })", "finite numbers"),
        ("(player.mode = 'once')", "loop, bounce"),
    ):
        with pytest.raises(Exception, match=message):
            visit.state(wish)


def test_a_broken_asset_gives_a_message(browser, folder):
    visit = Visit(browser, (folder / "broken.html").as_uri())
    assert re.search(r"asset\.glb: .*Copy the file again", visit.page.inner_text("#message"))
    assert not visit.page.is_visible("footer")
    assert visit.complaints == []
    visit.page.close()


def test_a_damaged_frame_gives_a_message_when_it_is_reached(browser, folder):
    visit = Visit(browser, (folder / "damaged.html").as_uri(), reduced_motion="reduce")
    assert not visit.page.is_visible("#message")
    visit.page.keyboard.press("End")
    visit.page.wait_for_selector("body[data-state=failed]")
    assert "asset.glb" in visit.page.inner_text("#message")
    visit.page.close()


SLOW_UNPACKING = """
  const Fast = DecompressionStream;
  globalThis.DecompressionStream = class {
    constructor(format) {
      const [fast, slow] = [new Fast(format), new TransformStream({
        async transform(chunk, controller) {
          await new Promise((resolve) => setTimeout(resolve, 400));
          controller.enqueue(chunk);
        },
      })];
      Object.assign(this, { writable: fast.writable, readable: fast.readable.pipeThrough(slow) });
    }
  };
"""


def test_frames_that_are_still_packed_are_waited_for(browser, folder, moving):
    visit = Visit(browser, (folder / "index.html").as_uri(), SLOW_UNPACKING, reduced_motion="reduce")
    visit.state("player.play()")  # shows frame 0 meanwhile, and skips nothing
    image = visit.pixels(frame=7, camera=camera_of(INPUT), width=128, height=128, background="white")
    assert psnr(image[..., :3], ours(moving[7], INPUT, 128, 128)) >= LEAST_PSNR
    visit.wait("player.frame > 0")
    assert (visit.foreign, visit.complaints) == ([], [])
    visit.page.close()


def test_a_missing_asset_gives_a_message(browser, site):
    visit = Visit(browser, site + "lost.html")
    assert "nowhere.glb cannot be read (404" in visit.page.inner_text("#message")
    visit.page.close()


def test_without_webgl_2_the_page_says_so(playwright, chromium, folder):
    with launched(playwright, chromium, "--disable-3d-apis") as browser:
        visit = Visit(browser, (folder / "index.html").as_uri())
        assert "needs WebGL 2, which this browser does not offer" in visit.page.inner_text("#message")
        visit.page.close()
