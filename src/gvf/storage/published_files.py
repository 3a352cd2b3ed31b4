"""List the published weight files: where each comes from, and where it is on this machine. Nothing is downloaded here.

These folders are searched, in this order: the one that GVF_WEIGHTS names, gvf's own (`gvf weights pull` writes into the
first of the two that is set), the checkpoints of torch hub, and the cache of the model hub.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MODEL_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class HubFile:
    """One file of a repository on the model hub. path: inside the repository. digest: as in `WebFile`."""

    repository: str
    revision: str
    path: str
    digest: str = ""

    @property
    def pinned(self) -> bool:
        """Return whether its revision is a commit, which fixes its bytes."""
        return len(self.revision) == 40

    @property
    def name(self) -> str:
        """Return the file name without its folder."""
        return PurePosixPath(self.path).name

    @property
    def parts(self) -> tuple[HubFile, ...]:
        """Return the file itself as its only part."""
        return (self,)

    @property
    def address(self) -> str:
        """Return a human-readable address."""
        return f"https://huggingface.co/{self.repository} ({self.path}, revision {self.revision[:12]})"

    @property
    def places(self) -> tuple[str, ...]:
        """Return the paths at which it may be inside a folder of weights; new files go to the first."""
        return f"{self.repository.split('/')[1]}/{self.path}", self.path, self.name

    def find(self) -> Path | None:
        """Return the file on this machine, if there is one."""
        candidates = [folder / place for folder in _folders() for place in self.places]
        candidates += [snapshot / self.path for snapshot in _snapshots(self.repository, self.revision)]
        return next((path for path in candidates if path.is_file()), None)


@dataclass(frozen=True)
class HubModel:
    """A model folder in the layout of transformers. files: the needed files of the repository."""

    repository: str
    revision: str
    files: tuple[str, ...]

    @property
    def address(self) -> str:
        """Return a human-readable address."""
        return f"https://huggingface.co/{self.repository} ({', '.join(self.files)}, revision {self.revision[:12]})"

    @property
    def pinned(self) -> bool:
        """Return whether its revision is a commit, which fixes its bytes."""
        return len(self.revision) == 40

    @property
    def parts(self) -> tuple[HubFile, ...]:
        """Return its files one by one."""
        return tuple(HubFile(self.repository, self.revision, file) for file in self.files)

    def find(self) -> Path | None:
        """Return the folder on this machine, `<folder of weights>/<name>` or a snapshot in the hub's cache, if there is one."""
        folders = [folder / self.repository.split("/")[1] for folder in _folders()]
        for folder in folders + _snapshots(self.repository, self.revision):
            if (folder / "config.json").is_file() and any((folder / file).is_file() for file in MODEL_FILES):
                return folder
        return None


@dataclass(frozen=True)
class WebFile:
    """A single file on the web. digest: the beginning of its SHA-256, empty where none is published."""

    url: str
    name: str
    digest: str = ""

    @property
    def pinned(self) -> bool:
        """Return False: the digest of a web file cannot be queried from its publisher."""
        return False

    @property
    def parts(self) -> tuple[WebFile, ...]:
        """Return the file itself as its only part."""
        return (self,)

    @property
    def places(self) -> tuple[str, ...]:
        """Return the paths at which it may be inside a folder of weights."""
        return (self.name,)

    @property
    def address(self) -> str:
        """Return a human-readable address."""
        return self.url

    def find(self) -> Path | None:
        """Return the file on this machine, if there is one."""
        return next((folder / self.name for folder in _folders() if (folder / self.name).is_file()), None)


PublishedFile = HubFile | HubModel | WebFile

_TRELLIS = ("microsoft/TRELLIS-image-large", "25e0d31ffbebe4b5a97464dd851910efc3002d96")
_GVF = ("BwZhang/GaussianVariationFieldDiffusion", "main")  # the authors' own code names no commit either

VARIATION_VAE = HubFile(*_GVF, "ema_deformation_0.9999_200000.pt")
DIT = HubFile(*_GVF, "ema_diffusion_0.9999_500000.pt")
STATIC_VAE = HubFile(*_GVF, "ema_static_vae_0.9999_200000.pt")
STATIC_VAE_INITIAL = HubFile(*_GVF, "pretrained_ckpts/trellis_init_vae.pt")
STATISTICS = tuple(
    HubFile(*_GVF, f"{name}.pt") for name in ("static_mean", "static_std", "deformation_mean", "deformation_std")
)
SLAT_ENCODER = HubFile(*_TRELLIS, "ckpts/slat_enc_swin8_B_64l8_fp16.safetensors")
SLAT_GS_DECODER = HubFile(*_TRELLIS, "ckpts/slat_dec_gs_swin8_B_64l8gs32_fp16.safetensors")
SS_FLOW = HubFile(
    *_TRELLIS,
    "ckpts/ss_flow_img_dit_L_16l8_fp16.safetensors",
    "96dc6bfd4136fd950af564dd16b4ae533c9ba6af8f26c670646b2a9f2789b1db",
)
SS_DECODER = HubFile(
    *_TRELLIS,
    "ckpts/ss_dec_conv3d_16l8_fp16.safetensors",
    "1c76d4a40519aa2d711cc263a8404105231ac26db31d946bed48b84fee79009a",
)
SLAT_FLOW = HubFile(
    *_TRELLIS,
    "ckpts/slat_flow_img_dit_L_64l8p2_fp16.safetensors",
    "693fb2a58ad497bd222007301eeec49d14d60f8c12d2f2f00c221fa747b4c66c",
)

DINOV2 = HubModel(
    "facebook/dinov2-with-registers-large",
    "e4c89a4e05589de9b3e188688a303d0f3c04d0f3",
    ("config.json", "model.safetensors"),
)
VGG16 = WebFile("https://download.pytorch.org/models/vgg16-397923af.pth", "vgg16-397923af.pth", "397923af")
CLIP_B32 = HubModel(
    "openai/clip-vit-base-patch32",
    "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268",
    ("config.json", "preprocessor_config.json", "pytorch_model.bin"),
)
CLIP_L14 = HubModel(
    "openai/clip-vit-large-patch14",
    "32bd64288804d66eefd0ccbe215aa642df71cc41",
    ("config.json", "preprocessor_config.json", "model.safetensors"),
)
ALEXNET = WebFile(
    "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "alexnet-owt-7be5be79.pth", "7be5be79"
)
I3D_KINETICS = WebFile(
    "https://huggingface.co/spaces/LanguageBind/Open-Sora-Plan-v1.0.0/resolve/810fa8c4bdb3a4c8eec9bd57375c29bde6fb46de/"
    "opensora/eval/fvd/videogpt/i3d_pretrained_400.pt",
    "i3d_pretrained_400.pt",
)
AESTHETIC_HEAD = WebFile(
    "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/fe88a163f4661b4ddabba0751ff645e2e620746e/"
    "sac%2Blogos%2Bava1-l14-linearMSE.pth",
    "sac+logos+ava1-l14-linearMSE.pth",
)


def weights_folder() -> Path:
    """Return where new files go: the folder that GVF_WEIGHTS names, or else gvf's own in the user's cache."""
    named = os.environ.get("GVF_WEIGHTS")
    return Path(named).expanduser() if named else cache_folder() / "weights"


def cache_folder() -> Path:
    """Return gvf's folder in the user's cache."""
    return _cache() / "gvf"


def hub_cache() -> Path:
    """Return the folder in which huggingface_hub keeps what it has downloaded."""
    home = Path(os.environ.get("HF_HOME", _cache() / "huggingface")).expanduser()
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()


def _folders() -> list[Path]:
    """Return the folders of plain files, in the order of search."""
    torch_home = Path(os.environ.get("TORCH_HOME", _cache() / "torch")).expanduser()
    folders = [weights_folder(), cache_folder() / "weights", torch_home / "hub" / "checkpoints"]
    return list(dict.fromkeys(folders))


def _snapshots(repository: str, revision: str) -> list[Path]:
    """Return the versions of a repository in the hub's cache, the pinned one first."""
    snapshots = sorted((hub_cache() / f"models--{repository.replace('/', '--')}" / "snapshots").glob("*"))
    return sorted(snapshots, key=lambda snapshot: snapshot.name != revision)
