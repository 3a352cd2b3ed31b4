"""Flow `train-vae`. Run it here with `python -m flows.train_vae`, or as the deployment `train-vae/local`."""

from prefect import flow

from flows.dvc_stage import run_stages
from flows.settings import Settings, apply


@flow(name="train-vae")
def train_vae(settings: Settings | None = None) -> None:
    """Train the VAE in its two phases and encode every clip with it."""
    apply(settings)
    run_stages("encode")


if __name__ == "__main__":
    train_vae()
