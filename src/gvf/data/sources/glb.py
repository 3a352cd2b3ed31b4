"""Data source `glb`: the .glb and .gltf files below a folder."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from gvf.config.collect import GlbSourceConfig
from gvf.data.manifest import slug, unique
from gvf.data.sources.asset_files import find_assets
from gvf.data.sources.folder_manifest import Manifests
from gvf.data.sources.source import ASSETS, SourceFile
from gvf.errors import ConfigError
from gvf.storage.files import main_checkout
from gvf.text import clean
from gvf.workspace import Workspace

_logger = logging.getLogger(__name__)


def glb_files(config: GlbSourceConfig, folder: Path, workspace: Workspace) -> list[SourceFile]:
    """Return the files of a folder and its subfolders, sorted by path; each will be copied to its own subfolder of assets.

    What the folders' manifests say of a file goes with it.
    Raises ConfigError when the folder is absent or holds no such file.
    """
    directory = workspace.root / config.directory
    if not directory.exists():  # seen from a temporary copy of the checkout, which has what Git tracks
        directory = main_checkout(workspace.root) / config.directory
    if not directory.is_dir():
        raise ConfigError("collect.glb.directory", f"{directory} is not a folder.")
    found = find_assets(directory)
    for line in found.passed_over:
        _logger.warning("Skipped %s.", clean(line))
    if found.num_forks:
        _logger.warning("Skipped %d files in which macOS stores attributes of other files.", found.num_forks)
    if not found.paths:
        raise ConfigError("collect.glb.directory", f"{directory} holds no .glb or .gltf file.")
    manifests = Manifests(directory)
    taken: dict[str, int] = {}
    sources = []
    for path in found.paths:
        name = unique(slug(path.stem), taken)
        # In its own folder, where the files it refers to keep their relative paths.
        kept = Path(ASSETS, name, f"{name}{path.suffix.lower()}")
        family = family_of(path.relative_to(directory))
        sources.append(SourceFile(path, directory, folder, kept, "glb", family, manifests.facts(path)))
    manifests.report()
    return sources


def family_of(path: Path) -> str:
    """Return a file's path in the searched folder, without suffix and cleaned for tables.

    If cleaning changed it, a digest distinguishes it from other paths that would look the same.
    """
    name = path.as_posix().removesuffix(path.suffix)
    cleaned = clean(name)
    if cleaned == name:
        return name
    return f"{cleaned}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
