"""Prefect flows over `dvc repro`. They import nothing of gvf."""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")  # Prefect reads it when it is imported
