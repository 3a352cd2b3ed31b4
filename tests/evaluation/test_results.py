"""Table 1's rows: each says whether it was published or measured, by which protocol, on which data and device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from evaluation.published import OURS, table_1
from evaluation.results import TABLE_1_CAPTION, pipeline_row, read_results, table_1_rows, write_result
from evaluation.tables import to_latex, to_markdown
from gvf.errors import UserError

RESULT: dict[str, Any] = {
    "method": "Peer & Co",
    "protocol": "consistent4d",
    "data": "Consistent4D's 7 objects",
    "truth_sha256": "0123456789abcdef",
    "device": "a CPU, 2 cores",
    "generation": {"seconds": 3.5, "seconds_in_all": 61.25, "device": "one A100"},
    "metrics": {"psnr": 17.5, "ssim": 0.9, "lpips_alex": 0.1},
}
MEASUREMENT = {
    "preset": "cpu",
    "data": "procedural",
    "num_clips": 24,
    "num_frames": 8,
    "image_size": 96,
    "device": "a CPU",
}
SUMMARY = pd.DataFrame(
    [
        {"group": "all", "method": "dit", "psnr": 21.0, "ssim": 0.8, "lpips": float("nan")},
        {"group": "all", "method": "vae", "psnr": 22.0, "ssim": 0.9, "lpips": float("nan")},
        {"group": "seen", "method": "dit", "psnr": 1.0, "ssim": 0.1, "lpips": float("nan")},
    ]
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_row_says_where_it_comes_from(here: Path) -> None:
    write_result(RESULT)
    table = table_1_rows(read_results(), pipeline_row(SUMMARY, MEASUREMENT)).set_index("method")
    assert table["source"].tolist() == ["published"] * 6 + ["measured"] * 2
    for column in ("protocol", "data", "device"):
        assert table[column].str.len().min() > 2
    assert table.at[OURS, "psnr"] == 18.47
    assert table.at[OURS, "time"] == "4.5 s"
    ours = table.loc["gvf, preset cpu (DiT)"]
    assert (ours["psnr"], ours["data"], ours["device"]) == (21.0, "procedural, 24 held-out clips", "a CPU")
    assert "8 frames of 96 pixels" in ours["protocol"]
    assert pd.isna(ours["time"])  # tables come out the same every time
    peer = table.loc["Peer & Co"]
    assert (peer["psnr"], peer["ssim"], peer["time"], peer["time_in_all"]) == (17.5, 0.9, "3.5 s", "61.2 s")
    assert peer["data"] == "Consistent4D's 7 objects #01234567"
    assert peer["device"] == "one A100; scored on a CPU, 2 cores"
    assert pd.isna(peer["lpips"])


def test_the_table_reads_in_every_format(here: Path) -> None:
    table = table_1_rows([RESULT])
    markdown = to_markdown(table, TABLE_1_CAPTION)
    cells = [cell.strip() for cell in markdown.splitlines()[-1].split("|")[1:-1]]
    assert cells[:9] == ["Peer & Co", "measured", "17.50", "n/a", "0.900", "n/a", "n/a", "3.5 s", "61.2 s"]
    assert cells[9:11] == ["consistent4d", "Consistent4D's 7 objects #01234567"]
    assert r"Peer \& Co & measured & 17.50 & n/a & 0.900 & n/a & n/a & 3.5 s" in to_latex(
        table, TABLE_1_CAPTION, "table_1"
    )


def test_files_that_are_no_results_are_named(here: Path) -> None:
    path = write_result(RESULT)
    path.write_text('{"method": "x"}')
    with pytest.raises(UserError, match=r"peer-co--consistent4d\.json: not a result"):
        read_results()


def test_without_results_the_published_rows_stand_alone(here: Path) -> None:
    table = table_1_rows(read_results())
    assert table["psnr"].tolist() == table_1()["psnr"].tolist()
    assert (table["source"] == "published").all()
