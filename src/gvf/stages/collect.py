"""Stage `collect`: gather animated assets into `data/raw` and list every clip of every file, readable or not."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gvf.data.gltf.animation import read_animation
from gvf.data.gltf.document import GltfDocument, read_gltf
from gvf.data.gltf.geometry import target_counts
from gvf.data.gltf.scene import NodeTree, read_nodes
from gvf.data.gltf.skeleton import skeleton_digest
from gvf.data.manifest import RAW_SCHEMA, slug, unique, write_manifest
from gvf.data.sources.glb import glb_files
from gvf.data.sources.source import SourceFile
from gvf.errors import ClipError, ends_the_run
from gvf.execution.clip_map import Rejected, map_clips
from gvf.storage.files import fresh_directory, sha256
from gvf.workspace import Workspace

if TYPE_CHECKING:
    from gvf.config.params import Params


def run(params: Params, workspace: Workspace) -> dict[str, float]:
    """Write `data/raw/assets` and `data/raw/clips.parquet`. Raises UserError when a source has no files."""
    config = params.collect
    with fresh_directory(workspace.raw) as folder:
        sources: list[SourceFile] = []
        if config.glb is not None:
            sources += glb_files(config.glb, folder, workspace)
        if config.procedural is not None:
            from gvf.data.sources.procedural import procedural_files

            sources += procedural_files(config.procedural, folder, params.run.seed)
        results = map_clips(collect_asset, sources, params.execution, "collect", lambda source: str(source.path))
        taken: dict[str, int] = {}
        rows: list[dict[str, Any]] = []
        for source, result in zip(sources, results):
            if isinstance(result, Rejected):
                result = [_row(source, "", rejected=result)]
            for row in result:
                name = f"{slug(source.destination.stem)}--{slug(row['animation'] or 'unreadable')}"
                rows.append({"clip_id": unique(name, taken), **row})
        write_manifest(folder / workspace.raw_manifest.name, rows, RAW_SCHEMA)
    return {
        "assets": float(len(sources)),
        "clips": float(sum(row["animation"] is not None for row in rows)),
        "unreadable": float(sum(row["error"] is not None for row in rows)),
        "families": float(len({row["family"] for row in rows})),
        "kinds": float(len({row["kind"] for row in rows})),
        "skeletons": float(len({row["skeleton"] for row in rows if row["skeleton"]})),
        "assets_without_licence": float(len({row["asset"] for row in rows if row["licence"] is None})),
        "seconds_of_animation": sum(row["duration"] or 0.0 for row in rows),
    }


def collect_asset(source: SourceFile) -> list[dict[str, Any]]:
    """Copy one file and the files it refers to into the assets folder, and list its clips, still without ids.

    Raises ClipError when the file cannot be copied, and OSError when the machine is at fault (disk full).
    """
    kept = source.folder / source.destination
    try:
        if source.path != kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.path, kept)
        digest = sha256(kept)
    except OSError as error:
        raise _copy_error(f"{source.path.name}:", error) from None
    try:
        document = read_gltf(source.path)
        digest = _copy_side_files(document, source.root, kept.parent, digest)
        if not document.animations:
            raise ClipError("motion", f"{document.name}: has no animation, so nothing moves.")
        tree, targets = read_nodes(document), target_counts(document)
        skeleton = skeleton_digest(document, tree) or digest
        source = replace(source, facts=replace(source.facts, skeleton=source.facts.skeleton or skeleton))
        return [_list_clip(document, source, digest, i, tree, targets) for i in range(len(document.animations))]
    except MemoryError:
        raise  # the whole worker is out of memory
    except Exception as error:
        return [_row(source, digest, rejected=Rejected.of(source.path.name, error))]


def _copy_side_files(document: GltfDocument, root: Path, folder: Path, digest: str) -> str:
    """Copy the files that an asset refers to into its folder; a missing file is reported when it is needed.

    Returns a digest of the asset with all of them, or the asset's own if it refers to none. Raises ClipError when a file
    cannot be copied, or is a link that leads out of both `root` and the asset's own folder (which may itself be a link).
    """
    digests = [digest]
    inside = [root.resolve(), document.path.parent.resolve()]
    for path in document.side_files:
        name = path.relative_to(document.path.parent)
        copy = folder / name
        try:
            # Unlike Path.is_file, this is False for impossible names. The copy already exists if a file refers to itself.
            if not os.path.isfile(path) or os.path.lexists(copy):  # noqa: PTH113
                continue
            if not any(path.resolve().is_relative_to(place) for place in inside):
                message = f"its file {str(name)!r} is a link out of {root}. Put the file itself there."
                raise ClipError("invalid", f"{document.name}: {message}")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            digests.append(sha256(copy))
        except OSError as error:
            raise _copy_error(f"{document.name}: its file {str(name)!r}", error) from None
    return digest if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _copy_error(what: str, error: OSError) -> Exception:
    """Return the error of this one file, or the error that ends the run."""
    return error if ends_the_run(error) else ClipError("invalid", f"{what} cannot be copied ({error.strerror}).")


def _list_clip(
    document: GltfDocument, source: SourceFile, digest: str, index: int, tree: NodeTree, targets: dict[int, int]
) -> dict[str, Any]:
    name = document.animation_names[index]
    try:
        animation = read_animation(document, index, tree, targets)
    except MemoryError:
        raise
    except Exception as error:
        return _row(source, digest, name, index, rejected=Rejected.of(name, error))
    return _row(source, digest, name, index, duration=animation.end - animation.start)


def _row(
    source: SourceFile,
    digest: str,
    animation: str | None = None,
    index: int = -1,
    duration: float | None = None,
    rejected: Rejected | None = None,
) -> dict[str, Any]:
    return {
        "asset": source.destination.as_posix(),
        "asset_sha256": digest,
        "source": source.source,
        "family": source.family,
        **asdict(source.facts),
        "kind": source.facts.kind or source.family,
        "animation": animation,
        "animation_index": index,
        "duration": duration,
        "error": rejected and rejected.reason,
        "message": rejected and rejected.message,
        "exception": rejected and rejected.exception,
    }
