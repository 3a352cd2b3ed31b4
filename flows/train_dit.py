"""Flow `train-dit`. Run it here with `python -m flows.train_dit`, or as the deployment `train-dit/local`."""

from prefect import flow

from flows.dvc_stage import run_stages
from flows.settings import Settings, apply


@flow(name="train-dit")
def train_dit(settings: Settings | None = None) -> None:
    """Train the diffusion transformer."""
    apply(settings)
    run_stages("train-dit")


if __name__ == "__main__":
    train_dit()
