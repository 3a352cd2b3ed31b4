"""One MLflow run per stage, logged by a separate process: a writer owns MLflow, this module only sends it messages.

MLflow takes seconds to import and a server may be slow or down. Neither should delay training, so both are left to the
process `gvf.tracking.writer`, started beside the stage. Every function here is a no-op when no run is open, on ranks other than 0
and in forked workers; nothing here raises because of tracking.

Some of what a finished run logged is also kept outside Git and DVC: images in `work/runs/<stage>/`, and the run's id and
address in a record (`gvf.tracking.run_records`).
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from gvf.config.tracking import TrackingConfig
from gvf.errors import UserError
from gvf.stage_table import STAGES
from gvf.storage.files import PathLike, atomic_path, fresh_directory, main_checkout
from gvf.tracking import run_records
from gvf.tracking.provenance import file_digest, flatten, head, identify
from gvf.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np

WITHOUT_CLIPS = ("benchmark", "generate")  # work on frames or videos of people, not on clips of a manifest

_FLUSH_ITEMS = 500
_FLUSH_SECONDS = 2.0
# How long the end of a stage waits for an idle writer, and at most for one that is still writing.
_IDLE_SECONDS = 15.0
_GRACE_SECONDS = 180.0

_logger = logging.getLogger(__name__)
_session: _Session | None = None


@dataclass(frozen=True)
class Variant:
    """Settings of a run that is compared with others: runs of one parent differ in their seed alone.

    name: of the parent; a run is called `<name>-<seed>`. key: parents with equal keys are one. headline: the final metric
    by which variants are compared, which comes first in the parent, where MLflow's comparison takes it from. tags: of
    parent and run.
    """

    name: str
    key: str
    seed: int
    headline: str
    tags: Mapping[str, str]


@contextmanager
def stage_run(
    stage: str,
    params: Mapping[str, Any],
    settings: TrackingConfig,
    workspace: Workspace,
    variant: Variant | None = None,
) -> Iterator[None]:
    """Open the run of a stage in the experiment of the same name; an exception inside marks it failed and goes on up.

    params: resolved config, nested by section. The run gets it flattened, with the commit, a digest of dvc.lock and the
    data set; its name is `<preset>-<data>-<key>` with `gvf.tracking.provenance.run_key`. A variant's run has its own name and a
    parent, which gets the mean and standard deviation of its runs' final metrics; its weights are not registered.
    workspace: where the stage works. Unless MLFLOW_TRACKING_URI is set, the store of its checkout receives the run.
    """
    global _session
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    reads, writes = _manifests(workspace, stage)
    session = None
    if settings.enabled:
        try:
            description = _description(workspace, stage, params, reads, settings, variant)
            session = _Session(workspace, stage, description)
        except OSError as error:
            _logger.warning("MLflow's writer cannot be started (%s); this run is not tracked.", error)
    if session is not None and reads is not None:
        session.dataset(reads, "input")
    _session = session
    status = "FAILED"
    try:
        yield
        if session is not None and writes is not None:
            session.dataset(writes, "output")
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        _session = None
        if session is not None:
            session.close(status)
    try:
        run_records.finish(workspace, stage)
    except OSError as error:
        _logger.warning("The outputs are not linked to their MLflow run: %s", error)


def log(step: int, values: Mapping[str, float]) -> None:
    """Log a point of each curve; buffered and sent in batches."""
    if (session := _open_session()) is not None:
        session.metrics(step, values)


def log_metrics(values: Mapping[str, float]) -> None:
    """Log final metrics, one value each, at the last step of the curves."""
    if (session := _open_session()) is not None:
        session.metrics(session.last_step, values)
        session.send(op="final", names=list(values))


def log_figure(name: str, image: np.ndarray | PathLike, step: int = 0) -> None:
    """Log an image: uint8 [H,W,3] or [H,W,4], or the path of a PNG. Equal names with rising steps make a series."""
    if (session := _open_session()) is not None:
        session.image(name, image, step)


def log_video(path: PathLike) -> None:
    """Log a video or another file unchanged, under its own name."""
    if (session := _open_session()) is not None:
        session.send(op="artifact", path=str(Path(path).resolve()), folder="videos")


def log_folder(directory: PathLike, name: str) -> None:
    """Log the files of a folder unchanged, under `name`, which may have slashes. They must stay until the run ends."""
    if (session := _open_session()) is not None:
        session.send(op="artifact", path=str(Path(directory).resolve()), folder=name)


def log_model(directory: PathLike, name: str) -> None:
    """Log a folder of networks, each in a folder of its own, as a model: the next registered version of `name`."""
    if (session := _open_session()) is not None:
        session.send(op="model", directory=str(Path(directory).resolve()), name=name)


def _now() -> int:
    """Return the time in milliseconds since 1970, as MLflow counts it."""
    return int(time.time() * 1000)


def _open_session() -> _Session | None:
    return _session if _session is not None and _session.pid == os.getpid() else None


def _manifests(workspace: Workspace, stage: str) -> tuple[Path | None, Path | None]:
    """Return the manifests that a stage reads and writes; runs that are no stages of dvc.yaml may read the curated one."""
    if stage not in STAGES:
        return (None if stage in WITHOUT_CLIPS else workspace.curated_manifest), None
    entry = STAGES[stage]
    return entry.reads and entry.reads(workspace), entry.writes and entry.writes(workspace)


def _description(
    workspace: Workspace,
    stage: str,
    params: Mapping[str, Any],
    manifest: Path | None,
    settings: TrackingConfig,
    variant: Variant | None,
) -> dict[str, Any]:
    identity = identify(workspace, stage, params, manifest)
    parent = None
    if variant is not None:
        tags = dict(variant.tags)
        parent = {"name": variant.name, "key": variant.key, "headline": variant.headline, "tags": tags}
    return {
        "stage": stage,
        "run_name": identity.name if variant is None else f"{variant.name}-{variant.seed}",
        "parent": parent,
        "params": {name: str(value) for name, value in flatten(params).items()},
        "tags": {
            "preset": identity.preset,
            "data": identity.data,
            "run_key": identity.key,
            "code": identity.code,
            "dvc_lock": file_digest(workspace.checkout / "dvc.lock"),
            "mlflow.source.name": f"gvf {stage}",
            "mlflow.source.type": "LOCAL",
            "mlflow.source.git.commit": head(workspace.checkout),
            **({} if variant is None else {**variant.tags, "seed": str(variant.seed)}),
        },
        "system_metrics_interval": settings.system_metrics_interval,
        "record": str(run_records.started_path(workspace, stage).resolve()),
    }


class _Session:
    """The stage's end of the pipe to one writer process: one JSON object per line, without replies."""

    def __init__(self, workspace: Workspace, stage: str, description: Mapping[str, Any]) -> None:
        self.pid = os.getpid()
        self._images = workspace.runs / stage
        self._folder = workspace.runs / f"{stage}.started"
        self._points: list[tuple[str, float, int, int]] = []
        self._sent_at = time.monotonic()
        self._broken = False
        self.last_step = 0
        run_records.started_path(workspace, stage).unlink(missing_ok=True)
        with fresh_directory(self._folder):
            pass
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gvf.tracking.writer"],
            cwd=main_checkout(
                workspace.checkout
            ),  # where MLflow keeps its store, and to which its addresses are relative
            stdin=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.send(op="start", time=_now(), **description)

    def send(self, **message: Any) -> None:
        """Send one message; a writer that is gone costs one warning and what it would have written."""
        if self._broken:
            return
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            self._broken = True
            _logger.warning("MLflow's writer ended early (%s); this run is not tracked further.", error)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        now = _now()
        self.last_step = max(self.last_step, step)
        self._points.extend((name, float(value), int(step), now) for name, value in values.items())
        if len(self._points) >= _FLUSH_ITEMS or time.monotonic() - self._sent_at >= _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self._points:
            self.send(op="metrics", points=self._points)
        self._points = []
        self._sent_at = time.monotonic()

    def image(self, name: str, image: np.ndarray | PathLike, step: int) -> None:
        from PIL import Image

        from gvf.storage.images import read_image

        slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-")
        path = self._folder / f"{slug}-{step:07d}.png"
        try:
            with atomic_path(path) as partial:
                loaded = read_image(image) if isinstance(image, str | os.PathLike) else Image.fromarray(image)
                loaded.save(partial)
        except (OSError, UserError) as error:
            _logger.warning("%s: the image is not logged (%s).", path, error)
            return
        self.send(op="image", path=str(path.resolve()), name=slug, step=int(step))

    def dataset(self, manifest: Path, context: str) -> None:
        if manifest.is_file():
            digest = file_digest(manifest)
            self.send(op="dataset", name=manifest.parent.name, path=str(manifest), digest=digest, context=context)

    def close(self, status: str) -> None:
        """Send buffered messages and wait for the writer while it is busy, or not at all after a signal.

        The images of a finished run are kept.
        """
        self.flush()
        self.send(op="end", time=_now(), status=status)
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except OSError:
            pass  # already reported by send
        if status == "KILLED":
            return  # the writer ends by itself; after a signal, this process must end now
        if not self._wait():
            self._process.kill()
            self._process.wait()
            _logger.warning("MLflow's store does not answer; the rest of this run is not tracked.")
        if status == "FINISHED":
            try:
                shutil.rmtree(self._images, ignore_errors=True)
                os.replace(self._folder, self._images)
            except OSError as error:
                _logger.warning("The images of this run stay in %s: %s", self._folder, error)

    def _wait(self) -> bool:
        """Return whether the writer ends within `_GRACE_SECONDS` and without being idle for `_IDLE_SECONDS`.

        With a slow store the writer keeps computing, reading or writing; with a store that hangs it is idle.
        """
        start = busy_at = time.monotonic()
        work = self._work()
        while self._process.poll() is None:
            time.sleep(0.1)
            now = time.monotonic()
            if (work_now := self._work()) != work:
                work, busy_at = work_now, now
            if now - busy_at > _IDLE_SECONDS or now - start > _GRACE_SECONDS:
                return False
        return True

    def _work(self) -> tuple[float, ...]:
        """Return the writer's CPU time and bytes read and written so far, which change while it makes progress."""
        try:
            writer = psutil.Process(self._process.pid)
            if writer.status() == psutil.STATUS_DISK_SLEEP:
                return (time.monotonic(),)
            times, counts = writer.cpu_times(), writer.io_counters()
        except (psutil.Error, NotImplementedError, AttributeError):  # the writer has ended, or no byte counters
            return ()
        return (times.user, times.system, counts.read_chars, counts.write_chars)
