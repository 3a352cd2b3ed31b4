"""Flow `evaluate`. Run it here with `python -m flows.evaluate`, or as the deployment `evaluate/local`."""

from prefect import flow

from flows.dvc_stage import EVALUATE, run_stages


@flow(name="evaluate")
def evaluate() -> None:
    """Generate for the held-out videos, measure, write the report."""
    run_stages(EVALUATE)


if __name__ == "__main__":
    evaluate()
