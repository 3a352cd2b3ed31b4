"""Flow `generate`, which makes an asset from a video by `gvf animate` or `gvf generate`.

Run it as the deployment `generate/local`, or here with `python -m flows.generate VIDEO [OBJECT]`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field, model_validator

from flows import processes
from flows.dvc_stage import MAX_IMAGE_BYTES, number

_OPTIONS = ("clip", "frames", "seed", "candidates", "azimuth", "elevation", "fov", "device", "size")


class GenerationFailed(RuntimeError):
    """The command ended with an error; the message has its exit code and its last lines."""


class Generation(BaseModel):
    """Parameters of the flow. Relative paths start in the checkout."""

    model_config = ConfigDict(extra="forbid")

    video: str = Field(min_length=1, description="A video file, or a folder of frames.")
    object_file: str | None = Field(
        default=None, description="A mesh or Gaussians of the object, in the pose of the first frame."
    )
    output: str | None = Field(
        default=None, description="Folder for the asset; by default work/assets/<name of the video>."
    )
    generator: str | None = Field(
        default=None, description="Folder or name of the generator; by default gvf-small, which comes with gvf."
    )
    clip: str | None = Field(
        default=None, description="Animation of object_file whose first frame is its pose; by default the rest pose."
    )
    frames: int | None = Field(default=None, ge=2, description="Number of frames; by default those of the video.")
    seed: int = Field(default=0, description="Seed of the noise: another seed gives another motion.")
    candidates: int = Field(
        default=1, ge=1, le=64, description="Number of motions to generate; the one that fits the video best is kept."
    )
    azimuth: float | None = Field(
        default=None, description="Camera azimuth in degrees; by default found by the alignment."
    )
    elevation: float | None = Field(
        default=None, ge=-89, le=89, description="Camera elevation in degrees; by default found by the alignment."
    )
    fov: float | None = Field(
        default=None, ge=5, le=120, description="Vertical field of view in degrees; by default found by the alignment."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="Device of the networks.")
    size: int = Field(default=512, ge=64, le=2048, description="Size of preview.mp4 and turntable.mp4, in pixels.")

    @property
    def folder(self) -> Path:
        """Return the asset's folder."""
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(self.video).stem).strip("-") or "asset"
        return processes.ROOT / (self.output or f"work/assets/{name}")

    @model_validator(mode="after")
    def _clip_has_its_object(self) -> Generation:
        if self.clip is not None and self.object_file is None:
            raise ValueError(
                "clip: object_file is not given, so there is no animation to name. Give it, or leave clip out."
            )
        return self

    def command(self) -> list[str]:
        """Return the command that generates."""
        inputs = [self.video] if self.object_file is None else [self.object_file, self.video]
        values = {
            "output": str(self.folder),
            "model": self.generator,
            **{name: getattr(self, name) for name in _OPTIONS},
        }
        options = [f"--{name}={value}" for name, value in values.items() if value is not None]
        return ["gvf", "generate" if self.object_file is None else "animate", *options, "--", *inputs]


@task(name="gvf-generate", task_run_name="{generation.video}", cache_policy=NO_CACHE)
def make_asset(generation: Generation) -> None:
    """Run the command and log its output. Raises GenerationFailed; when the flow run ends, so does every process of it."""
    try:
        processes.run(generation.command(), get_run_logger().info)
    except processes.CommandFailed as error:
        raise GenerationFailed(str(error)) from None


@task(name="show-asset", task_run_name="{folder.name}", cache_policy=NO_CACHE)
def show_asset(folder: Path) -> None:
    """Log the asset to MLflow and show its page, frames and timings as artifacts."""
    command = [sys.executable, "-m", "gvf.pipelines.asset_run", str(folder)]
    done = subprocess.run(command, cwd=processes.ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        get_run_logger().warning("The asset is not logged: %s", done.stderr.strip()[-2000:])
    logged = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    key = "asset-" + re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    page = (folder / "index.html").resolve().as_uri()
    create_link_artifact(
        page, link_text=f"{folder.name}: page", key=f"{key}-page", description="Plays the asset offline."
    )
    create_markdown_artifact(summary(folder, logged), key=key)


def summary(folder: Path, logged: Mapping[str, Any]) -> str:
    """Return Markdown about an asset: page, MLflow run, frames, camera, seconds per step and warnings."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    camera, alignment = manifest["camera"], manifest.get("alignment") or {}
    lines = [f"## {folder.name}", "", f"Page: [index.html]({(folder / 'index.html').resolve().as_uri()})", ""]
    if run := logged.get("run"):
        lines += [f"MLflow run: [{run['run_name']}]({run['url']})", ""]
    if (strip := logged.get("strip")) and len(strip) <= MAX_IMAGE_BYTES:
        lines += [f"![frames](data:image/png;base64,{strip})", ""]
    facts = {
        "frames": manifest["num_frames"],
        "Gaussians": manifest["num_gaussians"],
        "frames per second": manifest["frames_per_second"],
        "camera's azimuth": camera["azimuth"],
        "camera's elevation": camera["elevation"],
        "camera's field of view": camera["fov"],
        "camera's confidence": alignment.get("confidence", "given"),
        **{f"seconds, {step}": seconds for step, seconds in manifest["seconds"].items()},
    }
    lines += ["| what | value |", "| :-- | --: |", *(f"| {name} | {number(value)} |" for name, value in facts.items())]
    lines += ["", *(f"- Warning: {text}" for text in manifest["warnings"])]
    return "\n".join(lines)


@flow(name="generate")
def generate(generation: Generation) -> None:
    """Generate an asset from a video, log it, and show its page, frames and timings."""
    make_asset(generation)
    show_asset(generation.folder)


if __name__ == "__main__":
    generate(Generation.model_validate(dict(zip(("video", "object_file"), sys.argv[1:3]))))
