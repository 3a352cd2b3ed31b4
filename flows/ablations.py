"""Flow `ablations`. Run it here with `python -m flows.ablations`, or as the deployment `ablations/local`."""

from pathlib import Path

import yaml
from prefect import flow

from flows.dvc_stage import ROOT, run_stages

FILE = "ablations/dvc.yaml"


def variant_stages(root: Path = ROOT) -> list[str]:
    """Return the stages of ablations/dvc.yaml as DVC names them, `model@variant-seed`, and the report last."""
    stages = yaml.safe_load((root / FILE).read_text(encoding="utf-8"))["stages"]
    seeds = yaml.safe_load((root / "ablations/params.yaml").read_text(encoding="utf-8"))["seeds"]
    names = []
    for name, stage in stages.items():
        variants = stage.get("matrix", {}).get("variant")
        names += [name] if variants is None else [f"{name}@{variant}-{seed}" for variant in variants for seed in seeds]
    return names


@flow(name="ablations")
def ablations() -> None:
    """Train and score every variant with every seed, then write Tables 2, 3, 5 and 6."""
    run_stages(variant_stages(), FILE)


if __name__ == "__main__":
    ablations()
