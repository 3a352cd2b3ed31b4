"""CITATION.cff, CHANGELOG.md and the pre-commit hooks are valid and agree with the rest of the project."""

from __future__ import annotations

import re

import yaml

from gvf import __version__
from tests.docs.shown import ROOT


def test_the_citation_has_what_cff_1_2_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == __version__
    assert all(isinstance(citation[key], str) and citation[key] for key in ("message", "title", "license"))
    assert citation["authors"]
    assert all("name" in author or "family-names" in author for author in citation["authors"])
    allowed = {
        "abstract authors cff-version commit contact date-released doi identifiers keywords license license-url message "
        "preferred-citation references repository repository-artifact repository-code title type url version"
    }
    assert set(citation) <= set(" ".join(allowed).split())


def test_the_preferred_citation_is_the_paper() -> None:
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    assert {"type", "title", "authors"} <= set(paper)  # what CFF 1.2.0 requires of a reference
    assert paper["type"] == "conference-paper"
    assert paper["title"].startswith("Gaussian Variation Field Diffusion")
    assert paper["authors"][0]["family-names"] == "Zhang"
    assert paper["conference"]["name"]  # an entity needs a name
    assert paper["year"] == 2025


def test_pre_commit_runs_the_commands_of_make_check() -> None:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    expected = [line.strip() for line in recipe[1].splitlines()]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in repository["hooks"]] == expected


def test_the_integration_check_runs_both_make_targets() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^make (\w+)$", script, re.MULTILINE) == ["check", "test"]
    assert "GVF_REQUIRE_SHARED=1" in script


def test_the_changelog_has_the_headings_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[0] == "Unreleased"
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.MULTILINE)) <= kinds
