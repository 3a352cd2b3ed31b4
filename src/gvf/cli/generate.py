"""Commands `generate` and `animate`, which make an animated 3D asset from a video, without or with a model of the object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gvf.cli.asset_options import AssetCommand, asset_options
from gvf.cli.progress_output import progress_output
from gvf.errors import UserError
from gvf.progress import Progress, Stopwatch

if TYPE_CHECKING:
    from gvf.pipelines.asset import Asset4D
    from gvf.pipelines.asset_manifest import MotionFacts
    from gvf.pipelines.generator_index import GeneratorIndex
    from gvf.pipelines.video_to_4d import Settings, VideoTo4D
    from gvf.video.options import VideoOptions

_VIDEO = (
    *("frames", "rate", "start", "end", "crop", "margin", "matting", "matting_model"),
    *("max_frames", "max_size", "folder_rate"),
)


@click.command("animate", cls=AssetCommand)
@click.argument("object_file", metavar="OBJECT", type=click.Path(path_type=Path))
@click.argument("video", type=click.Path(path_type=Path))
@click.option(
    "--clip",
    metavar="NAME",
    help="Take the pose of OBJECT from the first frame of this animation of its file.  [default: rest pose]",
)
@click.option(
    "--up",
    type=click.Choice(["y", "z"]),
    help="Up axis of OBJECT's file.  [default: y for glTF and OBJ, z for PLY and STL meshes]",
)
@asset_options
def animate(object_file: Path, video: Path, clip: str | None, up: str | None, **options: Any) -> None:
    """Make the 3D model OBJECT move as VIDEO shows.

    OBJECT is a mesh (.glb, .gltf, .obj, .ply, .stl) or Gaussians (.ply), in the pose of the first frame. VIDEO is a video file
    or a folder of frames that shows the object from a fixed camera.

    Writes DIR/index.html (open it in a browser), asset.glb, mesh.glb, preview.mp4, turntable.mp4, input.png and manifest.json.
    """
    _run(video, object_file, clip=clip, up=up, **options)


@click.command("generate", cls=AssetCommand)
@click.argument("video", type=click.Path(path_type=Path))
@click.option(
    "--image-model",
    metavar="FOLDER",
    help="Folder of the image-to-3D networks.  [default: those in the folder of --model, else TRELLIS, once `gvf weights pull` "
    "has fetched it]",
)
@click.option(
    "--image-encoder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the DINOv2 weights for the image-to-3D networks.  [default: the published ones]",
)
@click.option(
    "--image-steps",
    type=click.IntRange(1, 1000),
    help="Solver steps of the image-to-3D networks.  [default: those of --image-sampling]",
)
@click.option(
    "--image-sampling",
    type=click.Choice(["stored", "gvfdiffusion"]),
    help="Steps and guidance of the image-to-3D networks: stored with them, or 12 steps with guidance 7.5 and 3, as the paper's "
    "release samples TRELLIS.  [default: stored; gvfdiffusion where --model is the paper's release]",
)
@asset_options
def generate(video: Path, **options: Any) -> None:
    """Make an animated 3D asset from VIDEO alone.

    VIDEO is a video file or a folder of frames that shows one object from a fixed camera. Where you have a model of the
    object, use `gvf animate`, which needs no networks for its shape.

    Writes DIR/index.html (open it in a browser), asset.glb, preview.mp4, turntable.mp4, input.png and manifest.json.
    """
    _run(video, None, **options)


def _run(
    video: Path,
    object_file: Path | None,
    *,
    output: Path,
    model: str | None,
    device: str,
    size: int,
    as_json: bool,
    quiet: bool,
    clip: str | None = None,
    up: str | None = None,
    **options: Any,
) -> None:
    """Make an asset and write it. The video is read, and refused, before torch is imported, which takes seconds."""
    from gvf.pipelines.asset_files import demand_asset_folder
    from gvf.video.options import VideoOptions
    from gvf.video.preparation import prepare_video

    progress = Stopwatch(progress_output(as_json, quiet))
    demand_asset_folder(output)
    _demand_input(video, object_file)
    seen = VideoOptions(**_chosen(options, *_VIDEO))
    prepared = prepare_video(video, seen, progress)
    settings = _settings(options, seen, clip, up)
    pipeline = _load(model, device, progress)
    asset = pipeline(prepared, object_file, settings=settings, progress=progress)
    asset.save(output, progress, size)
    _summarise(asset, output, as_json, quiet)


def _demand_input(video: Path, object_file: Path | None) -> None:
    for path in (video, object_file):
        if path is not None and not path.exists():
            raise UserError(f"{path}: there is no such file or folder.")


def _chosen(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the options of these names that the user gave."""
    return {name: options[name] for name in names if options[name] is not None}


def _settings(options: dict[str, Any], video: VideoOptions, clip: str | None, up: str | None) -> Settings:
    from gvf.pipelines.alignment import AlignmentSettings
    from gvf.pipelines.canonical_image import ImageSettings
    from gvf.pipelines.motion import MotionSettings
    from gvf.pipelines.video_to_4d import Settings

    sampling: dict[str, Any] = {}
    if options["steps"] is not None:
        sampling |= {"solver": "multistep", "steps": options["steps"]}
    if options["guidance"] is not None:
        sampling["video_guidance"] = options["guidance"]
    if options["refine"] is not None:
        sampling["refinement_steps"] = options["refine"]
    image = {
        "networks": options.get("image_model"),
        "encoder": options.get("image_encoder"),
        "steps": options.get("image_steps"),
        "sampling": options.get("image_sampling"),
    }
    return Settings(
        image=ImageSettings(
            **{name: value for name, value in image.items() if value is not None}, seed=options["seed"]
        ),
        video=video,
        alignment=AlignmentSettings(**_chosen(options, "azimuth", "elevation", "fov")),
        motion=MotionSettings(
            sampling=sampling,
            **_chosen(options, "seed", "candidates", "segment_frames", "segments_from", "shared_noise"),
        ),
        clip=clip,
        up=up,
    )


def _load(model: str | None, device: str, progress: Progress) -> VideoTo4D:
    from gvf.devices import resolve_device
    from gvf.pipelines.hub import SHIPPED
    from gvf.pipelines.video_to_4d import VideoTo4D
    from gvf.workspace import Workspace

    with progress.step("load") as step:
        pipeline = VideoTo4D.from_pretrained(model or SHIPPED, device=resolve_device(device))
        if model is not None and Path(model).resolve() == Workspace().generator.resolve():
            pipeline.index = _with_sampling_of_workspace(pipeline.index)
        step.note(f"generator {model or SHIPPED}: {pipeline.index.title}")
    return pipeline


def _with_sampling_of_workspace(index: GeneratorIndex) -> GeneratorIndex:
    """Return the index of the workspace's own generator with the settings of the section `sample`, where params.yaml is here.

    The stage `train-dit` cannot record them: the DiT would be trained again whenever they change.
    """
    from gvf.config.load import PARAMS, load_params
    from gvf.pipelines.generator_index import Sampling

    if not Path(PARAMS).is_file():
        return index
    return index.model_copy(update={"sampling": Sampling.of(load_params().sample)})


def _refinement(motion: MotionFacts) -> str:
    """Return a line with the fit to the video before and after the refinement, means over segments; empty without refinement."""
    if not motion.refinements:
        return ""
    before = [candidate for candidate in motion.candidates if candidate.chosen]
    errors, overlaps = (
        [sum(getattr(fit, name) for fit in fits) / len(fits) for fits in (before, motion.refinements)]
        for name in ("color_error", "iou")
    )
    return (
        f"Refinement: mask IoU {overlaps[0]:.2f} -> {overlaps[1]:.2f}, color error {errors[0]:.3f} -> {errors[1]:.3f} (of the "
        "video's frames; smaller errors are better).\n"
    )


def _summarise(asset: Asset4D, output: Path, as_json: bool, quiet: bool) -> None:
    from gvf.geometry.camera import fov_of_part

    manifest = asset.manifest
    if as_json:
        click.echo(json.dumps({"output": str(output), **json.loads(manifest.model_dump_json())}))
    elif not quiet:
        camera, (_, height) = manifest.camera, manifest.video.size
        fov = fov_of_part(camera.fov, height / manifest.video.crops[0][2])
        click.echo(
            f"{output}: {manifest.num_frames} frames of {manifest.num_gaussians:,} Gaussians by the generator "
            f"{manifest.generator.folder} ({manifest.generator.name}). Camera at azimuth "
            f"{camera.azimuth:.0f}, elevation {camera.elevation:.0f}, field of view {fov:.0f} degrees.\n"
            f"{_refinement(manifest.motion)}"
            f"Open {output / 'index.html'} in a browser."
        )
