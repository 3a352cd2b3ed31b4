"""Table 1's rows: each says whether it was published or measured, by which protocol, on which data and device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gvf.errors import UserError
from gvf.storage.files import read_json, write_json
from gvf.workspace import Workspace
from gvf_evaluation.published import OURS, table_1
from gvf_evaluation.results import (
    TABLE_1_CAPTION,
    pipeline_rows,
    read_results,
    result_path,
    seconds_of,
    table_1_rows,
    time_of,
    write_result,
)
from gvf_evaluation.tables import to_latex, to_markdown

RESULT: dict[str, Any] = {
    "method": "Peer & Co",
    "protocol": "consistent4d",
    "data": "Consistent4D's 7 objects",
    "ground_truth_sha256": "0123456789abcdef",
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
        {"group": "all", "method": "refined", "psnr": 21.5, "ssim": 0.85, "lpips": float("nan")},
        {"group": "all", "method": "vae", "psnr": 22.0, "ssim": 0.9, "lpips": float("nan")},
        {"group": "seen", "method": "dit", "psnr": 1.0, "ssim": 0.1, "lpips": float("nan")},
    ]
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_row_says_where_it_comes_from(here: Path) -> None:
    write_result(Workspace(), RESULT)
    table = table_1_rows(read_results(Workspace()), pipeline_rows(SUMMARY, MEASUREMENT, "a GPU")).set_index("method")
    assert table["source"].tolist() == ["published"] * 6 + ["measured"] * 3
    for column in ("protocol", "data", "device"):
        assert table[column].str.len().min() > 2
    assert table.at[OURS, "psnr"] == 18.47
    assert table.at[OURS, "ssim_cropped"] == 0.901, "published rows were measured without the border"
    assert pd.isna(table.at[OURS, "ssim"])
    assert table.at[OURS, "time"] == "4.5 s"
    ours = table.loc["gvf, preset cpu (DiT)"]
    assert (ours["psnr"], ours["data"]) == (21.0, "procedural, 24 held-out clips")
    assert table.at["gvf, preset cpu (DiT, refined)", "psnr"] == 21.5
    assert ours["device"] == "generated on a GPU; scored on a CPU"
    assert "8 frames of 96 pixels" in ours["protocol"]
    assert pd.isna(ours["time"])  # tables come out the same every time
    peer = table.loc["Peer & Co"]
    assert (peer["psnr"], peer["ssim"], peer["time"], peer["time_in_all"]) == (17.5, 0.9, "3.5 s", "1.02 min")
    assert peer["data"] == "Consistent4D's 7 objects #01234567"
    assert peer["device"] == "generated on one A100; scored on a CPU, 2 cores"
    assert pd.isna(peer["lpips"])


def test_the_table_reads_in_every_format(here: Path) -> None:
    table = table_1_rows([RESULT])
    markdown = to_markdown(table, TABLE_1_CAPTION)
    cells = [cell.strip() for cell in markdown.splitlines()[-1].split("|")[1:-1]]
    values = ["Peer & Co", "measured", "17.50", "0.900", "n/a", "n/a", "0.100", "n/a", "n/a", "3.5 s", "1.02 min"]
    assert cells[:11] == values
    assert cells[11:13] == ["consistent4d", "Consistent4D's 7 objects #01234567"]
    assert " & ".join(values[:10]).replace("Peer &", r"Peer \&") in to_latex(table, TABLE_1_CAPTION, "table_1")


def test_metrics_and_times_that_no_row_has_are_left_out() -> None:
    assert {"psnr_object", "lpips_alex", "ssim", "chamfer", "time_in_all"}.isdisjoint(table_1_rows([]).columns)
    assert table_1_rows([{**RESULT, "metrics": {"lpips_alex": 0.1}}]).iloc[-1]["lpips_alex"] == 0.1


def test_a_device_that_nobody_named_is_left_out() -> None:
    unnamed = {**RESULT, "generation": {"seconds": None, "seconds_in_all": None, "device": None}}
    assert table_1_rows([unnamed]).iloc[-1]["device"] == "scored on a CPU, 2 cores"


def test_only_the_same_method_on_the_same_truth_by_the_same_protocol_replaces_a_result(here: Path) -> None:
    others = [
        {"method": name}
        for name in ("Peer+Co", "PEER & Co", "peer-co", "Метод", "方法", "手法", "L4GM", "L4GM+", "L4GM*")
    ]
    others += [{"ground_truth_sha256": "fedcba9876543210"}, {"protocol": "gvf"}]
    written = [{**RESULT, **changes} for changes in ({}, *others)]
    paths = [write_result(Workspace(), result) for result in written]
    assert len(set(paths)) == len(written)
    assert all(result in read_results(Workspace()) for result in written)
    again = {**RESULT, "metrics": {"psnr": 18.0}, "data": "7 objects"}
    assert (
        write_result(Workspace(), again)
        == paths[0]
        == result_path(Workspace(), "Peer & Co", "consistent4d", "0123456789abcdef")
    )
    assert read_json(paths[0]) == again
    assert len(read_results(Workspace())) == len(written)
    assert [path.name.rpartition("--")[0] for path in (paths[0], paths[4])] == [
        "peer-co--consistent4d",
        "unnamed-7feb143d--consistent4d",
    ]
    assert all(len(path.stem.rpartition("--")[2]) == 8 for path in paths)


def _generation(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda result: {**result, "generation": {**result["generation"], **changes}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda result: {"method": "x"}, "its 'protocol' is missing or not text"),
        (lambda result: [result], "it must be a JSON object"),
        (lambda result: {**result, "device": None}, "its 'device' is missing or not text"),
        (lambda result: {**result, "generation": {}}, "its 'generation' must have seconds, seconds_in_all and device"),
        (lambda result: {**result, "metrics": None}, "its 'metrics' must be finite numbers"),
        (lambda result: {**result, "metrics": {"psnr": float("nan")}}, "its 'metrics' must be finite numbers"),
        (_generation(seconds=0), r"its 'generation\.seconds' is 0, must be null or seconds above zero"),
        (_generation(seconds=float("inf")), r"its 'generation\.seconds' is inf"),
        (_generation(seconds_in_all="3 s"), r"its 'generation\.seconds_in_all' is '3 s'"),
        (_generation(device=3), r"its 'generation\.device' must be null or text"),
    ],
)
def test_files_that_are_no_results_are_named_with_their_flaw(
    here: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    write_json(write_result(Workspace(), RESULT), change(RESULT))
    with pytest.raises(UserError, match=rf"peer-co--consistent4d--[0-9a-f]{{8}}\.json: not a result of .*: {words}"):
        read_results(Workspace())


def test_times_are_worded_as_published_and_published_ones_are_read() -> None:
    assert [seconds_of(text) for text in ("3.5 s", "~20 min", "~1.5 h")] == [3.5, 1200, 5400]
    for text in ("soon", "1.21e+03 s", "3.5"):
        with pytest.raises(ValueError, match="is not a time like"):
            seconds_of(text)
    worded = {0.0271: "0.0271 s", 3.5: "3.5 s", 59: "59 s", 60: "1 min", 1208: "20.1 min", 3600: "1 h", 5400: "1.5 h"}
    assert {seconds: time_of(seconds) for seconds in worded} == worded


def test_without_results_the_published_rows_stand_alone(here: Path) -> None:
    table = table_1_rows(read_results(Workspace()))
    assert table["psnr"].tolist() == table_1()["psnr"].tolist()
    assert (table["source"] == "published").all()
