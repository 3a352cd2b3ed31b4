"""The file that an image encoder's weights come from, and its digest, which identifies weights that have no public name."""

from __future__ import annotations

import re
from pathlib import Path

from gvf.config.featurize import FeaturizeConfig
from gvf.errors import UserError
from gvf.pipelines.generator_index import HUB_NAME
from gvf.storage.files import sha256
from gvf.storage.published_files import DINOV2

_FILE = "model.safetensors"


def weights_file(config: FeaturizeConfig) -> Path | None:
    """Return the file of an encoder's weights; None if they come with a package or are not on this machine."""
    if config.encoder != "dinov2":
        return None
    folder = Path(config.weights) if config.weights else DINOV2.find()
    if folder is not None and folder.is_dir():
        return folder / _FILE if (folder / _FILE).is_file() else None
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(config.weights or DINOV2.repository, _FILE)
    except HFValidationError:  # a path, not a name of the hub
        return None
    return Path(found) if isinstance(found, str) else None


def weights_digest(config: FeaturizeConfig) -> str | None:
    """Return the SHA-256 of the file of an encoder's weights; None if they come with a package or are not here.

    Raises UserError when they should be in a local folder and are not, because nothing else identifies them.
    """
    file = weights_file(config)
    name = config.weights
    if file is None and name and (Path(name).exists() or not re.fullmatch(HUB_NAME, name)):
        raise UserError(
            f"featurize.weights: {name} contains no {_FILE}. The generator records its digest: put back the file "
            "that the features were computed with."
        )
    return None if file is None else sha256(file)


def require_digest(config: FeaturizeConfig, expected: str | None) -> None:
    """Raise UserError if an encoder's weights are on this machine and are not those with the expected SHA-256."""
    file = weights_file(config)
    if expected is None or file is None or (found := sha256(file)) == expected:
        return
    raise UserError(
        f"{file}: has SHA-256 {found[:16]}..., but the generator was trained with image encoder weights of SHA-256 "
        f"{expected[:16]}... Pass the folder with those weights: VideoTo4D.from_pretrained(..., encoder_weights=FOLDER)."
    )
