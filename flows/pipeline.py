"""Flow `pipeline`. Run it here with `python -m flows.pipeline`, or as the deployment `pipeline/local`."""

from prefect import flow

from flows.dvc_stage import run_stages
from flows.settings import Settings, apply


@flow(name="pipeline")
def pipeline(settings: Settings | None = None) -> None:
    """Run every stage from the data source to the report; stages that are up to date are skipped."""
    apply(settings)
    run_stages()


if __name__ == "__main__":
    pipeline()
