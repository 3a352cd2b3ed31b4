"""Flow `train-dit`. Run it here with `python -m flows.train_dit`, or as the deployment `train-dit/local`."""

from prefect import flow

from flows.dvc_stage import TRAIN_DIT, run_stages


@flow(name="train-dit")
def train_dit() -> None:
    """Train the diffusion transformer."""
    run_stages(TRAIN_DIT)


if __name__ == "__main__":
    train_dit()
