"""Tables as text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from evaluation.published import table_1
from evaluation.tables import to_latex, to_markdown, write_table

TABLE = pd.DataFrame(
    {
        "method": ["a_b", "100% & more"],
        "psnr": [20.126, float("nan")],
        "gap_closed": [0.125, -0.03],
        "asset_seen": [True, False],
        "num_clips": [3, 12],
    }
)


def test_markdown_is_aligned_and_says_what_is_missing() -> None:
    assert to_markdown(TABLE, "Caption.").splitlines() == [
        "Caption.",
        "",
        "| Method      | PSNR ↑ | Gap closed ↑ | Asset seen | Clips |",
        "| ----------- | -----: | -----------: | ---------- | ----: |",
        "| a_b         |  20.13 |        12.5% | yes        |     3 |",
        "| 100% & more |    n/a |        -3.0% | no         |    12 |",
    ]


def test_latex_is_escaped() -> None:
    text = to_latex(TABLE, "50% of a_b", "quality")
    assert r"\begin{tabular}{lrrlr}" in text
    assert r"a\_b & 20.13 & 12.5\% & yes & 3 \\" in text
    assert r"100\% \& more & n/a & -3.0\% & no & 12 \\" in text
    assert r"PSNR $\uparrow$" in text
    assert r"\caption{50\% of a\_b}" in text


def test_three_files_a_table_and_csv_keeps_every_digit(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path, "quality", "Caption.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quality.csv", "quality.md", "quality.tex"]
    read = pd.read_csv(tmp_path / "quality.csv")
    assert read["psnr"][0] == 20.126
    assert pd.isna(read["psnr"][1])


def test_published_rows_are_the_paper_s(shared: Path) -> None:
    """Every figure of Table 1 stands in the paper's text, in the table's own line."""
    lines = (shared / "paper/gvfdiffusion.txt").read_text(encoding="utf-8").partition("Table 1.")[2].splitlines()
    table = table_1()
    for name, *published, _time in table.values.tolist():
        start = "Ours " if "paper" in name else name
        line = next(text for text in lines if text.startswith(start) and text.count(".") >= 4)
        figures = line.split("]")[-1].replace("Ours", "").split()
        assert [float(value) for value in figures[:5]] == published
