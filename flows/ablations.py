"""Flow `ablations`. Run it here with `python -m flows.ablations`, or as the deployment `ablations/local`."""

from prefect import flow

from flows.dvc_stage import run_stages


@flow(name="ablations")
def ablations() -> None:
    """Train and score every variant with every seed, then write Tables 2, 3, 5 and 6."""
    run_stages(file="ablations/dvc.yaml")


if __name__ == "__main__":
    ablations()
