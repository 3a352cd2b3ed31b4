"""Load model folders in the layout of the transformers library, checked before and after, since the library is lenient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gvf.errors import UserError
from gvf.storage.published_files import MODEL_FILES
from gvf.storage.recognition import Container, require_container, wrong_answer
from gvf.text import clean


def require_model_folder(folder: Path, configs: tuple[str, ...] = ("config.json",)) -> None:
    """Raise UserError unless the folder's weights have the format of their file name and `configs` are valid JSON."""
    for name in configs:
        if not (folder / name).is_file():
            raise UserError(f"{folder}: lacks {name}. Copy it beside the weights.")
        if wrong := wrong_answer(folder / name, name):
            raise UserError(f"{folder / name}: {wrong}. Fetch it again.")
    path = next((folder / name for name in MODEL_FILES if (folder / name).is_file()), None)
    if path is None:
        raise UserError(f"{folder}: contains neither {' nor '.join(MODEL_FILES)}. Copy the weights there.")
    container = require_container(path)
    if (container is Container.SAFETENSORS) != (path.suffix == ".safetensors"):
        right = MODEL_FILES[0] if container is Container.SAFETENSORS else MODEL_FILES[1]
        raise UserError(
            f"{path}: the content is {container.value}, but the name is that of another format. Rename it to {right}."
        )


def load_model(model_class: Any, folder: Path, title: str, **settings: Any) -> Any:
    """Load a model of `model_class` in eval mode, without gradients.

    title: the expected model, for messages, such as "a CLIP model". settings: further arguments of `from_pretrained`.
    Raises UserError with the cause; weights that the folder lacks are never initialised at random.
    """
    require_model_folder(folder)
    try:
        model, info = model_class.from_pretrained(folder, local_files_only=True, output_loading_info=True, **settings)
    except MemoryError:
        raise
    except Exception as error:
        raise UserError(f"{folder}: not {title}{_reason(error)}.") from None
    if lacking := sorted(info["missing_keys"]):
        rest = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise UserError(f"{folder}: not {title}: its weights lack {clean(lacking[0], 120)}{rest}. Download it again.")
    return model.eval().requires_grad_(False)


def load_processor(processor_class: Any, folder: Path, title: str) -> Any:
    """Load a model's image preprocessing. title: as in `load_model`. Raises UserError when it cannot be used."""
    require_model_folder(folder, ("config.json", "preprocessor_config.json"))
    try:
        return processor_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise UserError(f"{folder}: not the preprocessing of {title}{_reason(error)}.") from None


def _reason(error: Exception) -> str:
    """Return the first line of a library's error in parentheses, unless it gives advice on pickles."""
    line = clean(str(error).partition("\n")[0], 200).rstrip(".")
    return "" if not line or "weights_only" in str(error) or "Weights only" in str(error) else f" ({line})"
