"""Tables as text."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from gvf_evaluation.ablations import PUBLISHED_METRICS, TABLES, AblationTable
from gvf_evaluation.published import table_1
from gvf_evaluation.tables import as_text, column, to_latex, to_markdown, write_table

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
        "| Method      |   PSNR ↑ |   Gap closed ↑ | Asset seen   |   Clips |",
        "|:------------|---------:|---------------:|:-------------|--------:|",
        "| a_b         |    20.13 |          12.5% | yes          |       3 |",
        "| 100% & more |      n/a |          -3.0% | no           |      12 |",
    ]


def test_markdown_keeps_each_row_on_its_line() -> None:
    awkward = pd.DataFrame({"method": ["a | b", "two\nlines"], "x|y": [1, 2]})
    assert to_markdown(awkward, "Caption.").splitlines()[2:] == [
        "| Method    |   X\\|y |",
        "|:----------|-------:|",
        "| a \\| b    |      1 |",
        "| two lines |      2 |",
    ]
    assert to_markdown(TABLE.iloc[:0], "Caption.").splitlines()[2].startswith("| Method ")


def test_columns_of_the_same_title_are_all_kept() -> None:
    table = pd.DataFrame([[1, 2]], columns=["fast_method", "fast method"])
    assert as_text(table).values.tolist() == [["1", "2"]]
    assert "| 1 | 2 |" in re.sub(" +", " ", to_markdown(table, "Caption."))
    assert r"1 & 2 \\" in to_latex(table, "Caption.", "twice")


def test_published_columns_are_named_so() -> None:
    assert column("psnr_published").heading == "PSNR (published) ↑"
    assert column("psnr_published").format == column("psnr").format
    assert column("lpips").heading == "LPIPS ↓"
    assert column("asset_seen").heading == "Asset seen"


def test_latex_is_escaped() -> None:
    text = to_latex(TABLE, "50% of a_b", "quality")
    assert r"\begin{tabular}{lrrlr}" in text
    assert r"a\_b & 20.13 & 12.5\% & yes & 3 \\" in text
    assert r"100\% \& more & n/a & -3.0\% & no & 12 \\" in text
    assert r"PSNR $\uparrow$" in text
    assert r"\caption{50\% of a\_b}" in text
    awkward = to_latex(pd.DataFrame({"method": [r"K^2 \and {x}"]}), "Caption.", "quality")
    assert r"K\textasciicircum{}2 \textbackslash{}and \{x\} \\" in awkward


def test_each_table_is_three_files_and_csv_keeps_every_digit(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path, "quality", "Caption.")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["quality.csv", "quality.md", "quality.tex"]
    read = pd.read_csv(tmp_path / "quality.csv")
    assert read["psnr"][0] == 20.126
    assert pd.isna(read["psnr"][1])


def test_published_rows_are_those_of_the_paper(shared: Path) -> None:
    """Every value of Table 1 is in the paper's text, in the line of its method."""
    lines = (shared / "paper/gvfdiffusion.txt").read_text(encoding="utf-8").partition("Table 1.")[2].splitlines()
    table = table_1()
    for name, *published, _time in table.values.tolist():
        start = "Ours " if "paper" in name else name
        line = next(text for text in lines if text.startswith(start) and text.count(".") >= 4)
        values = line.split("]")[-1].replace("Ours", "").split()
        assert [float(value) for value in values[:5]] == published


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"table-{table.number}")
def test_published_ablations_are_those_of_the_paper(table: AblationTable, shared: Path) -> None:
    """The values of the paper's text, in order; Table 6 prints two rows side by side, with ours in both."""
    text = (shared / "paper/gvfdiffusion.txt").read_text(encoding="utf-8").partition(f"Table {table.number}. ")[2]
    metrics = [name for name in PUBLISHED_METRICS if name in table.published.columns]
    printed = ["psnr", "lpips", "ssim", *metrics[3:]]
    lines = [re.findall(r"\d+\.\d+|\b\d+\b", line) for line in text.splitlines()]
    rows = [[float(word) for word in words] for words in lines if sum("." in word for word in words) >= 3]
    if table.number == 6:
        settings = ["num_neighbors", "beta"]
        found = [row[:5] for row in rows[:4]] + [row[5:] for row in rows[:4] if row[5:7] != [8, 7.0]]
    else:
        settings = []
        found = [row[-len(printed) :] for row in rows[: len(table.rows)]]
    assert table.published[[*settings, *printed]].values.tolist() == found
