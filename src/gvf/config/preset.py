"""Read one preset of conf/ without running anything, for `gvf summary`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gvf.errors import UserError

FOLDER = Path("conf") / "preset"


def load_preset(name: str, root: Path | None = None) -> dict[str, Any]:
    """Return the preset's sections as plain values, references resolved.

    root: the project's folder; by default the current one, or else that of the checkout gvf was installed from. Raises
    UserError that lists the presets when there is none of that name.
    """
    from omegaconf import OmegaConf

    roots = [root] if root else [Path(), Path(__file__).resolve().parents[3]]
    folder = next((place / FOLDER for place in roots if (place / FOLDER).is_dir()), None)
    if folder is None:
        raise UserError(f"{FOLDER}: no such folder. Run gvf in the project's root.")
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise UserError(f"{path}: no such preset. There are {known}.")
    values = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    assert isinstance(values, dict)
    return {str(section): content for section, content in values.items()}
