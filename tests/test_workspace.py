"""Workspaces: which files a variant shares with its checkout, and what their caches keep."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from gvf.workspace import Workspace


def test_a_variant_reads_what_it_shares_from_its_checkout_and_writes_the_rest_to_its_own_folder() -> None:
    variant = Workspace(Path("variant"), Path("checkout"), frozenset({"data/curated", "models/vae_joint"}))
    assert variant.curated_manifest == Path("checkout/data/curated/clips.parquet")
    assert variant.vae_joint == Path("checkout/models/vae_joint")
    assert variant.latents == Path("variant/data/latents")
    assert variant.checkpoints("train-dit") == Path("variant/work/train_dit")
    assert variant.checkout == Path("checkout")
    assert Workspace().curve("train-dit") == Path("reports/curves/train-dit.csv")


def test_the_cache_is_bounded_and_forgets_what_was_used_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gvf.workspace.CACHE_BYTES", 250)
    workspace, reads = Workspace(), []

    def read(name: str) -> torch.Tensor:
        def load() -> torch.Tensor:
            reads.append(name)
            return torch.zeros(100, dtype=torch.uint8)

        return workspace.cached(name, load)

    for name in ("a", "b", "a", "c", "a", "b"):
        read(name)
    assert reads == ["a", "b", "c", "b"]


def test_a_pickled_workspace_leaves_its_cache_behind() -> None:
    workspace = Workspace(Path("root"))
    workspace.cached("a", lambda: torch.zeros(1000))
    copy = pickle.loads(pickle.dumps(workspace))
    assert copy.raw == workspace.raw
    assert copy.cached("a", lambda: torch.ones(3)).tolist() == [1.0, 1.0, 1.0]
    assert len(pickle.dumps(workspace)) < 1000
