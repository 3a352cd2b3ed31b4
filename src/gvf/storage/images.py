"""Decode untrusted images: only PNG, JPEG and WebP, only below a fixed size, and without starting any program.

By default, Pillow tries every decoder it has, and the one for EPS runs Ghostscript on the file. Colour profiles, gamma
and EXIF orientation are ignored: glTF demands this for the first two, and the published scoring scripts ignore all three.
Only the first frame of an animation is read.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from gvf.errors import UserError, ends_the_run
from gvf.storage.files import PathLike
from gvf.text import clean

FORMATS = ("PNG", "JPEG", "WEBP")
"""Pillow's names of the formats that are read."""
MAX_PIXELS = 8192 * 8192
"""Largest width times height that is decoded: 256 MiB as RGBA."""

Source = PathLike | bytes

_READ = ("a PNG file", "a JPEG file", "a WebP file")
_MAGIC = (  # offset, bytes, name
    (0, b"\x89PNG\r\n\x1a\n", _READ[0]),
    (0, b"\xff\xd8\xff", _READ[1]),
    (8, b"WEBP", _READ[2]),
    (0, b"\xabKTX 20\xbb", "a KTX2 file"),
    (0, b"\xabKTX 11\xbb", "a KTX file"),
    (0, b"sB\x13\x00", "a Basis Universal file"),
    (0, b"DDS ", "a DDS file"),
    (0, b"\x13\xab\xa1\x5c", "an ASTC file"),
    (0, b"%!PS", "an EPS (PostScript) file"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS (PostScript) file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"GIF8", "a GIF file"),
    (0, b"II*\x00", "a TIFF file"),
    (0, b"MM\x00*", "a TIFF file"),
    (0, b"II+\x00", "a TIFF file"),
    (0, b"MM\x00+", "a TIFF file"),
    (4, b"ftypavi", "an AVIF file"),
    (4, b"ftyphei", "a HEIF file"),
    (4, b"ftypmif1", "a HEIF file"),
    (4, b"jP  \r\n\x87\n", "a JPEG 2000 file"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 file"),
    (4, b"JXL \r\n\x87\n", "a JPEG XL file"),
    (0, b"\xff\x0a", "a JPEG XL file"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR file"),
    (0, b"#?RADIANCE", "a Radiance HDR file"),
    (0, b"#?RGBE", "a Radiance HDR file"),
    (0, b"qoif", "a QOI file"),
    (0, b"\x00\x00\x01\x00", "an icon (ICO) file"),
    (0, b"glTF", "a GLB file"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer"),
    (0, b"BM", "a BMP file"),
)
_LIMIT = f"at most {MAX_PIXELS:,} (8192 x 8192) are read. Scale it down"
_HEAD, _TGA_FOOTER = 1024, b"TRUEVISION-XFILE.\x00"


def image_size(source: Source, where: str | None = None) -> tuple[int, int]:
    """Return the width and height of an image from its header alone. Raises UserError as `read_image` does."""
    with _opened(source, where) as image:
        return image.size


def read_image(source: Source, where: str | None = None) -> Image.Image:
    """Decode a file or encoded bytes; the returned image keeps no file open.

    where: how messages name the source; its path by default. Raises UserError when it is missing, in another format,
    larger than MAX_PIXELS or damaged.
    """
    with _opened(source, where) as image:
        image.load()
    return image


def read_rgba(source: Source, where: str | None = None) -> np.ndarray:
    """Decode a file or encoded bytes to RGBA [H, W, 4] uint8. Raises UserError as `read_image` does."""
    image = read_image(source, where)
    if image.mode.startswith("I"):
        # PIL would clip 16-bit grey values to 255 instead of scaling them.
        grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
        return np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    return np.array(image.convert("RGBA"))


@contextmanager
def _opened(source: Source, where: str | None) -> Iterator[Image.Image]:
    """Yield the image of a source with only its header read; any failure while it is open becomes a UserError."""
    where = where or ("image" if isinstance(source, bytes) else str(source))
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_binary(source))
        except OSError as error:
            if ends_the_run(error):
                raise
            raise UserError(f"{where}: cannot be read ({error.strerror}).") from None
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # about odd metadata, and sizes, which are checked below
        try:
            kind = _kind(file)
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(f"{where}: has {image.width} x {image.height} pixels; {_LIMIT}.")
                yield image
        except UserError:
            raise
        except Image.UnidentifiedImageError:
            if kind in _READ:
                raise UserError(f"{where}: begins like {kind}, but is damaged. Save it again.") from None
            found = f"is {kind}, " if kind else "is "
            raise UserError(f"{where}: {found}not a PNG, JPEG or WebP image. Save it as PNG.") from None
        except Image.DecompressionBombError:  # Pillow's own limit, beyond which it does not report the size
            raise UserError(f"{where}: has too many pixels; {_LIMIT}.") from None
        except Exception as error:  # decoders raise arbitrary errors on damaged bytes
            if ends_the_run(error):
                raise
            raise UserError(f"{where}: cannot be decoded ({_reason(error)}). Save it again.") from None


def _binary(source: Source) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")


def _kind(file: BinaryIO) -> str:
    """Return what a file is by its first (and for TGA last) bytes, with an article; empty when unknown."""
    head = file.read(_HEAD)
    size = file.seek(0, io.SEEK_END)
    file.seek(max(size - len(_TGA_FOOTER), 0))
    tail = file.read()
    file.seek(0)
    if not head:
        return "an empty file"
    for offset, magic, name in _MAGIC:
        if head.startswith(magic, offset):
            return name
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page"
    if text.startswith((b"<svg", b"<?xml")):
        return "an SVG (XML) file"
    return "a TGA file" if tail == _TGA_FOOTER else ""


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = str(error)
    if "MAX_TEXT" in text:
        return "a text chunk in it unpacks to more than the 1 MB that is allowed"
    return clean(text) or type(error).__name__
