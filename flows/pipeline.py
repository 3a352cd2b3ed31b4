"""Flow `pipeline`. Run it here with `python -m flows.pipeline`, or as the deployment `pipeline/local`."""

from prefect import flow

from flows.dvc_stage import CURATE, EVALUATE, TRAIN_DIT, TRAIN_IMAGE_TO_3D, TRAIN_VAE, run_stages
from flows.settings import Settings, apply


@flow(name="pipeline")
def pipeline(settings: Settings | None = None) -> None:
    """Run every stage in order, from the data source to the report; stages that are up to date are skipped."""
    apply(settings)
    run_stages((*CURATE, *TRAIN_VAE, *TRAIN_DIT, *TRAIN_IMAGE_TO_3D, *EVALUATE))


if __name__ == "__main__":
    pipeline()
