"""Flow `curate`. Run it here with `python -m flows.curate`, or as the deployment `curate/local`."""

from prefect import flow

from flows.dvc_stage import CURATE, run_stages


@flow(name="curate")
def curate() -> None:
    """Gather clips, bake and choose them, render their ground truth, compute their features."""
    run_stages(CURATE)


if __name__ == "__main__":
    curate()
