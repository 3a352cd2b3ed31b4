"""Flow `evaluate`. Run it here with `python -m flows.evaluate`, or as the deployment `evaluate/local`."""

from prefect import flow

from flows.dvc_stage import run_stages
from flows.settings import Settings, apply


@flow(name="evaluate")
def evaluate(settings: Settings | None = None) -> None:
    """Generate motion for the held-out videos, score it, and write the report."""
    apply(settings)
    run_stages("report")


if __name__ == "__main__":
    evaluate()
