"""Flow `curate`. Run it here with `python -m flows.curate`, or as the deployment `curate/local`."""

from prefect import flow

from flows.dvc_stage import run_stages
from flows.settings import Settings, apply


@flow(name="curate")
def curate(settings: Settings | None = None) -> None:
    """Collect clips, bake and select them, render their ground truth, and compute their features."""
    apply(settings)
    run_stages("featurize")


if __name__ == "__main__":
    curate()
