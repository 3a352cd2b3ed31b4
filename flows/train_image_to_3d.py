"""Flow `train-image-to-3d`. Run it here with `python -m flows.train_image_to_3d`, or as the deployment of that name."""

from prefect import flow

from flows.dvc_stage import run_stages
from flows.settings import Settings, apply


@flow(name="train-image-to-3d")
def train_image_to_3d(settings: Settings | None = None) -> None:
    """Train the networks from one image to canonical Gaussians."""
    apply(settings)
    run_stages("train-appearance")


if __name__ == "__main__":
    train_image_to_3d()
