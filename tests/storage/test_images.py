"""Untrusted images: which are decoded, which are refused with which message, and that no program is run."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from gvf.errors import UserError
from gvf.storage.images import MAX_PIXELS, image_size, read_image, read_rgba

GRADIENT = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3) * 2


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int, *chunks: bytes, data: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 100})])
def test_the_three_formats_are_read_from_files_and_bytes(kind: str, options: dict[str, object], tmp_path: Path) -> None:
    content = encoded(Image.fromarray(GRADIENT), kind, **options)
    path = tmp_path / "a.png"  # the name says nothing
    path.write_bytes(content)
    for source in (content, path, str(path)):
        assert image_size(source) == (7, 5)
        rgba = read_rgba(source)
        assert rgba.dtype == np.uint8
        np.testing.assert_allclose(rgba[..., :3].astype(int), GRADIENT, atol=0 if kind != "JPEG" else 24)
        assert (rgba[..., 3] == 255).all()
    image = read_image(path)
    path.unlink()
    np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), rgba)  # nothing is read later


def test_pixels_of_every_kind_become_rgba() -> None:
    grey = Image.fromarray(np.array([[0, 128, 255]], np.uint8))
    assert read_rgba(encoded(grey, "PNG"))[0].tolist() == [[0, 0, 0, 255], [128, 128, 128, 255], [255] * 4]
    deep = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
    assert read_rgba(encoded(deep, "PNG"))[0, :, 0].tolist() == [0, 128, 255]  # scaled, not clipped
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    content = encoded(palette, "PNG", transparency=bytes([0, 255]))
    assert read_rgba(content).tolist() == [[[10, 20, 30, 0], [40, 50, 60, 255]]]
    key = encoded(Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)), "PNG", transparency=(1, 2, 3))
    assert read_rgba(key).tolist() == [[[1, 2, 3, 0], [4, 5, 6, 255]]]
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red ink
    np.testing.assert_allclose(read_rgba(encoded(cmyk, "JPEG", quality=95))[4, 4].astype(int), [255, 0, 0, 255], atol=6)


def test_orientation_and_profiles_are_ignored_and_the_first_frame_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    image = Image.fromarray(GRADIENT)
    for kind in ("PNG", "JPEG", "WEBP"):
        assert image_size(encoded(image, kind, exif=exif, icc_profile=b"not a profile")) == (7, 5)
        assert read_rgba(encoded(image, kind, exif=exif, icc_profile=b"not a profile")).shape == (5, 7, 4)
    red, blue = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    for kind in ("PNG", "WEBP"):
        content = encoded(red, kind, save_all=True, append_images=[blue], duration=100)
        np.testing.assert_allclose(read_rgba(content)[2, 2].astype(int), [255, 0, 0, 255], atol=2)


FOREIGN = {
    "an EPS (PostScript) file": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n",
    "a KTX2 file": b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(60),
    "a DDS file": b"DDS |\0\0\0" + bytes(120),
    "a GIF file": encoded(Image.new("P", (4, 4)), "GIF"),
    "a BMP file": encoded(Image.new("RGB", (4, 4)), "BMP"),
    "a TIFF file": encoded(Image.new("RGB", (4, 4)), "TIFF"),
    "a TGA file": encoded(Image.new("RGB", (4, 4)), "TGA"),
    "an AVIF file": b"\0\0\0 ftypavif\0\0\0\0" + bytes(32),
    "a Photoshop file": b"8BPS\0\1" + bytes(40),
    "an SVG (XML) file": b"\xef\xbb\xbf<?xml version='1.0'?><svg/>",
    "a web page": b"\n<!DOCTYPE html><html></html>",
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "an empty file": b"",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_formats_are_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(FOREIGN[name])
    for read in (image_size, read_image, read_rgba):
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: is {name}, not a PNG, JPEG or WebP image. Save it as PNG."
    with pytest.raises(UserError, match=r"^a\.glb: images\[0\]: is "):
        read_rgba(FOREIGN[name], "a.glb: images[0]")


def test_unknown_bytes_get_the_same_message_in_every_run() -> None:
    for _ in range(2):
        with pytest.raises(UserError, match=r"^it: is not a PNG, JPEG or WebP image\. Save it as PNG\.$"):
            read_rgba(b"hello", "it")


def test_no_program_is_started(tmp_path: Path) -> None:
    """A fake Ghostscript first on the path; a control shows that Pillow calls it by default."""
    program, marker, image = tmp_path / "bin/gs", tmp_path / "called", tmp_path / "0.png"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho x >> '{marker}'\nexit 1\n")
    program.chmod(0o755)
    image.write_bytes(FOREIGN["an EPS (PostScript) file"])
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    ours = "import sys; from gvf.storage.images import read_rgba; read_rgba(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", ours, image], env=environment, capture_output=True, text=True)
    assert "UserError" in done.stderr
    assert not marker.exists()
    plain = "import sys; from PIL import Image; Image.open(sys.argv[1]).load()"
    subprocess.run([sys.executable, "-c", plain, image], env=environment, capture_output=True)
    assert marker.exists(), "the fake program would not have been noticed"


def test_size_is_checked_before_decoding() -> None:
    """None of these has any pixel, so only a check of the header can tell the size."""
    assert image_size(png_of(8192, 8192)) == (8192, 8192)
    for width, height in ((8193, 8192), (MAX_PIXELS + 1, 1), (9500, 9500)):
        with pytest.raises(UserError, match=f"^x: has {width} x {height} pixels; at most 67,108,864"):
            read_rgba(png_of(width, height), "x")
    for width, height in ((50_000, 50_000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(UserError, match=r"^x: has too many pixels; at most 67,108,864 \(8192 x 8192\)"):
            read_rgba(png_of(width, height), "x")


def test_text_chunks_that_unpack_to_much_are_refused() -> None:
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000)))
    row = b"\0" + bytes(3)
    for before, after in ((bomb, b""), (b"", bomb)):
        content = png_of(1, 1, before, data=row).removesuffix(chunk(b"IEND", b"")) + after + chunk(b"IEND", b"")
        with pytest.raises(
            UserError, match=r"^x: cannot be decoded \(a text chunk in it unpacks to more than the 1 MB"
        ):
            read_rgba(content, "x")
    assert read_rgba(png_of(1, 1, chunk(b"tEXt", b"k\0v"), data=row)).tolist() == [[[0, 0, 0, 255]]]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_damaged_files_are_refused_or_read_never_a_traceback(kind: str) -> None:
    assert kind == "JPEG" or features.check("webp")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    random = np.random.default_rng(1)
    messages = []
    for trial in range(300):
        damaged = bytearray(content)
        if trial % 3 == 0:
            del damaged[int(random.integers(1, len(damaged) - 20)) :]
        else:
            for place in random.integers(0, min(len(damaged), 60 if trial % 3 == 1 else len(damaged)), 3):
                damaged[place] = random.integers(0, 256)
        try:
            read_rgba(bytes(damaged), "x")
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 100
    assert all(message.startswith("x: ") and "object at" not in message for message in messages)


def test_a_path_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.png: cannot be read \(No such file or directory\)"):
        image_size(tmp_path / "none.png")
    with pytest.raises(UserError, match="cannot be read"):
        read_rgba(tmp_path)
