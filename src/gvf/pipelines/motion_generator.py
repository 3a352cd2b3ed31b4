"""The networks from a video and canonical Gaussians to a variation field, from a folder or the model hub (Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from gvf.data.latents import LatentStatistics
from gvf.diffusion.schedule import cosine_schedule
from gvf.errors import UserError
from gvf.gaussians.gaussians import Gaussians
from gvf.geometry.camera import TRAINING_CAMERA, Array, OrbitCamera
from gvf.models.encoders.aligned_features import PointsInView, aligned_features, num_channels
from gvf.models.encoders.image_encoder import ImageEncoder, build_image_encoder
from gvf.models.network_folder import load_network, save_network
from gvf.models.variation.dit import VariationDiT, VideoCondition
from gvf.models.variation.joint_vae import JointVAE
from gvf.pipelines.encoder_weights import require_digest
from gvf.pipelines.frames import as_rgba, resized
from gvf.pipelines.generator_folder import DIT_FOLDER, refuse_foreign_files, write_description
from gvf.pipelines.generator_index import INDEX_NAME, GeneratorIndex, Sampling, read_index
from gvf.pipelines.handles import Handles, choose_handles
from gvf.pipelines.hub import locate
from gvf.pipelines.image_networks import find_dinov2
from gvf.pipelines.latent_sampling import sample_latents
from gvf.pipelines.mesh_to_canonical import video_tokens
from gvf.pipelines.model_card import CardFacts
from gvf.pipelines.motion_refinement import MotionRefinement
from gvf.pipelines.published_generator import is_published, load_published_generator
from gvf.storage.files import PathLike, fresh_directory

FRAMES_AT_ONCE = 4  # encoded at once: the widest encoder keeps 140 MB of activations per frame

Loaded = TypeVar("Loaded", bound="MotionGenerator")


@dataclass(frozen=True)
class Motion4D:
    """A generated motion. gaussians: moving Gaussians [T, N]. field: their variation [T, N, 14] (Eq. 7).

    nfe: network calls that the video needed.
    """

    gaussians: Gaussians
    field: Tensor
    nfe: int


@dataclass(frozen=True)
class Generated:
    """Motions of a batch: variation fields, one [T, G, 14] per clip, and the latents [T, L, C] that they were decoded from.

    nfe: network calls that each clip needed. num_calls: network calls for the whole batch.
    """

    fields: list[Tensor]
    latents: list[Tensor]
    nfe: list[int]
    num_calls: int


class MotionGenerator:
    """Generates the motion of canonical Gaussians from a video of any number of frames.

    `motion` takes frames and Gaussians, `generate` what is seen of the videos of a batch of clips. `from_pretrained` loads one,
    `save_pretrained` writes a folder that can be copied, published and loaded elsewhere.
    """

    def __init__(
        self,
        index: GeneratorIndex,
        vae: JointVAE,
        dit: VariationDiT,
        device: torch.device | str = "cpu",
        encoder_weights: PathLike | None = None,
    ):
        """Join networks, which move to the device, and the facts about them. Raises UserError when they do not fit.

        encoder_weights: as in `from_pretrained`.
        """
        _refuse_misfits(index, vae, dit)
        if encoder_weights is not None and index.image_encoder.name != "dinov2":
            raise UserError(
                f"encoder_weights: {index.image_encoder.name}, the image encoder of this generator, has its weights in its "
                "package. Leave encoder_weights out."
            )
        self.index = index
        self.folder: Path | None = None  # where the networks were loaded from
        self.encoder_weights = encoder_weights
        self.device = torch.device(device)
        self.vae = vae.to(self.device).eval()
        self.dit = dit.to(self.device).eval()
        statistics = index.statistics
        self.statistics = LatentStatistics(**{name: value.to(self.device) for name, value in vars(statistics).items()})
        self.schedule = cosine_schedule(index.diffusion.num_steps)

    @classmethod
    def from_pretrained(
        cls: type[Loaded],
        name_or_folder: PathLike,
        *,
        revision: str | None = None,
        cache_dir: PathLike | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: torch.device | str = "cpu",
        encoder_weights: PathLike | None = None,
    ) -> Loaded:
        """Load a generator from a folder, or by its name `owner/name` on the model hub.

        The folder is one of `save_pretrained`, of the stage `train-dit` or of `gvf models export`; or it holds the
        published weights of the paper, with DINOv2's folder beside them or elsewhere on this machine. The name `gvf-small` is
        that of the generator that comes with gvf. Weights stored in half precision are converted to float32. revision,
        cache_dir, local_files_only, token: as in huggingface_hub. encoder_weights: folder of the image encoder's weights, for a
        generator trained with others than the default ones. Only safetensors, and torch.save files without code, are read.
        Raises UserError that names the file and the problem.
        """
        folder = locate(
            name_or_folder,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
        )
        if not (folder / INDEX_NAME).is_file() and is_published(folder):
            parts = load_published_generator(folder)
            generator = cls(parts.index, parts.vae, parts.dit, device, encoder_weights or find_dinov2(folder))
        else:
            index = read_index(folder)
            dit = load_network(VariationDiT, folder / DIT_FOLDER).float()
            generator = cls(index, JointVAE.load(folder).float(), dit, device, encoder_weights)
        generator.folder = folder
        return generator

    def save_pretrained(self, folder: PathLike, facts: CardFacts | None = None) -> None:
        """Write the generator into a folder. facts: what is known for the model card.

        A generator that is there is replaced. Raises UserError when the folder holds anything else.
        """
        refuse_foreign_files(folder)
        with fresh_directory(folder) as partial:
            self.vae.save(partial)
            save_network(self.dit, partial / DIT_FOLDER)
            write_description(partial, self.index, facts)

    @cached_property
    def encoder(self) -> ImageEncoder:
        """Return the image encoder that the generator was trained with.

        Raises UserError if its weights are missing or not those of the training, or if its features do not fit the
        diffusion transformer.
        """
        config = self.index.featurize_config()
        if self.encoder_weights is not None:
            config = replace(config, weights=str(self.encoder_weights))
        require_digest(config, self.index.image_encoder.weights_sha256)
        encoder = build_image_encoder(config, self.device)
        sizes = self.dit.config
        wanted = {"tokens": (encoder.token_dim, sizes.image_channels)} if sizes.sees_tokens else {}
        if sizes.sees_aligned:
            wanted["pixel-aligned features"] = (num_channels(encoder, sizes.aligned_features), sizes.aligned_channels)
        for name, (found, expected) in wanted.items():
            if found != expected:
                raise UserError(
                    f"{INDEX_NAME}: image_encoder {self.index.image_encoder.name} makes {name} of {found} channels, "
                    f"{DIT_FOLDER} takes {expected}. They do not belong together."
                )
        return encoder

    def motion(
        self,
        frames: Tensor,
        canonical: Gaussians,
        *,
        camera: OrbitCamera = TRAINING_CAMERA,
        seed: int = 0,
        generator: torch.Generator | None = None,
        **settings: Any,
    ) -> Motion4D:
        """Generate the motion of one video.

        frames: [T, H, W, 4] RGBA with straight alpha, or [T, H, W, 3] RGB on white, whose pure white becomes transparent;
        uint8, or float in [0, 1]; square, and resized to the size of the training frames where the image encoder needs
        that. canonical: Gaussians [N] of the first frame. camera: of the frames. seed: of the noise, unless a generator (on
        the CPU) is given. settings: fields of `Sampling` that differ from the generator's, such as steps=10.
        Raises UserError for frames and settings that cannot be used.
        """
        sampling = self.index.sampling.with_changes(settings)
        canonical = canonical.to(self.device)
        handles = self.handles(canonical)
        video = self.video(frames, canonical, handles, camera)
        noise = self.noise(len(frames), generator or torch.Generator().manual_seed(seed))
        result = self.generate_with([handles], [video], [canonical], [noise], sampling)
        (field,), (latents,), (nfe,) = result.fields, result.latents, result.nfe
        if sampling.refinement_steps:
            seen = self.refinement(canonical, self._as_in_training(frames), camera.viewmat, camera.K)
            field = self.decode(seen.run(latents, sampling.refinement_steps), canonical)
        return Motion4D(canonical.vary(field), field, nfe)

    def video(
        self, frames: Tensor, canonical: Gaussians, handles: Handles, camera: OrbitCamera = TRAINING_CAMERA
    ) -> VideoCondition:
        """Return what the diffusion transformer is given of a video.

        frames: as in `motion`, seen by `camera`; canonical: Gaussians [N] of the first frame; handles: of these.
        """
        rgba, sees = self._as_in_training(frames), self.dit.config
        tokens = aligned = None
        if sees.sees_tokens:
            tokens = video_tokens(self.encoder, rgba, FRAMES_AT_ONCE, self.device)
        if sees.sees_aligned:
            seen = PointsInView(handles.positions, canonical.means, camera.viewmat, camera.K)
            aligned = aligned_features(self.encoder, rgba, seen, sees.aligned_features, FRAMES_AT_ONCE, self.device)
        return VideoCondition(tokens, aligned)

    def _as_in_training(self, frames: Tensor) -> Tensor:
        """Return frames as uint8 RGBA, of the size of the training frames where the image encoder needs that."""
        rgba, encoder = as_rgba(frames), self.index.image_encoder
        if rgba.shape[1] != rgba.shape[2]:
            raise UserError(
                f"frames: are {rgba.shape[2]} x {rgba.shape[1]} pixels, but the generator was trained on square ones. Crop them, "
                "or pad them with transparent (or white) pixels, to a square around the object."
            )
        if encoder.resizes_frames:
            rgba = resized(rgba, encoder.preprocessing.size)
        return rgba

    def noise(self, num_frames: int, generator: torch.Generator) -> Tensor:
        """Draw the noise [T, L, C] of one clip, on the CPU."""
        sizes = self.vae.variation.config
        return torch.randn(num_frames, sizes.num_latents, sizes.latent_channels, generator=generator)

    def generate(
        self,
        videos: Sequence[VideoCondition],
        canonicals: Sequence[Gaussians],
        noise: Sequence[Tensor],
        sampling: Sampling | None = None,
    ) -> Generated:
        """Generate the variation fields of a batch of clips of the same number of frames.

        videos: of each clip; canonicals: Gaussians [N] of each, on the generator's device; noise: [T, L, C] of each. A clip's
        field does not depend on the rest of the batch, up to rounding. sampling: by default the generator's own.
        """
        handles = [self.handles(canonical) for canonical in canonicals]
        return self.generate_with(handles, videos, canonicals, noise, sampling or self.index.sampling)

    def handles(self, canonical: Gaussians) -> Handles:
        """Return what the diffusion transformer sees of canonical Gaussians [N]."""
        return choose_handles(canonical, self.vae.variation.config.num_latents, self.dit.config.num_static)

    @torch.no_grad()
    def generate_with(
        self,
        handles: Sequence[Handles],
        videos: Sequence[VideoCondition],
        canonicals: Sequence[Gaussians],
        noise: Sequence[Tensor],
        sampling: Sampling,
        report: Callable[[Tensor], None] | None = None,
    ) -> Generated:
        """Generate variation fields as `generate` does, from the handles of each clip. report: as in `sample_latents`."""
        solution = sample_latents(
            self.dit,
            self.schedule,
            self.statistics,
            handles,
            VideoCondition.stack(videos).map(lambda values: values.float().to(self.device)),
            torch.stack(list(noise)).to(self.device),
            sampling,
            report,
        )
        latents = list(solution.sample)
        fields = [self.decode(values, gaussians) for values, gaussians in zip(latents, canonicals)]
        return Generated(fields, latents, solution.nfe.tolist(), solution.num_calls)

    @torch.no_grad()
    def decode(self, latents: Tensor, canonical: Gaussians) -> Tensor:
        """Return the variation field [T, N, 14] that latents [T, L, C] describe, of canonical Gaussians [N]."""
        return self.vae.variation.decode(latents.unsqueeze(0), canonical.to_activated14().unsqueeze(0))[0]

    def refinement(self, canonical: Gaussians, frames: Tensor, viewmat: Array, K: Array) -> MotionRefinement:
        """Return what fits generated motions of canonical Gaussians [N] to frames; these and their camera as it takes them."""
        return MotionRefinement(self.vae.variation, self.statistics.latent_std, canonical, frames, viewmat, K)


def _refuse_misfits(index: GeneratorIndex, vae: JointVAE, dit: VariationDiT) -> None:
    """Raise UserError unless networks and index agree on the channels and grids that they share."""
    static, variation = vae.static, vae.variation.config
    wanted = {
        f"{INDEX_NAME}: latents, channels": (len(index.latents.mean), variation.latent_channels),
        f"{INDEX_NAME}: static, channels": (len(index.static.mean), dit.static_cond_proj.in_features),
        f"{INDEX_NAME}: voxels.resolution": (index.voxels.resolution, static.decoder.config.resolution),
        f"{INDEX_NAME}: voxels.feature_channels": (
            index.voxels.feature_channels,
            static.encoder.config.feature_channels,
        ),
        f"{DIT_FOLDER}: latent_channels": (dit.latent_channels, variation.latent_channels),
    }
    if dit.config.sees_aligned:
        recorded = 0 if index.aligned is None else len(index.aligned.mean)
        wanted[f"{INDEX_NAME}: aligned, channels"] = (recorded, dit.config.aligned_channels)
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise UserError(
                f"{name} is {found}, but the networks beside it have {expected}. They do not belong together."
            )
