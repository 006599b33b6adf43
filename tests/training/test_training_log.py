"""Tables of a run that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from full_disk import small_files

from rvos_cli.errors import OutputError
from rvos_cli.training.recipes import recipe
from rvos_cli.training.run_options import TrainOptions
from rvos_cli.training.training_log import Table, TrainingLog
from rvos_cli.training.validation import ValidationReport


def test_a_table_goes_on_below_the_rows_that_stay(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n0,0.5\n1,0.4\n2,0.3\n")
    table = Table(path, ["step", "loss", "waited"], below=2)  # of a version that counted no waits
    table.write([2, 0.25, 0.1])
    assert path.read_text().split() == ["step,loss,waited", "0,0.5,", "1,0.4,", "2,0.25,0.1"]


@pytest.mark.parametrize("torn", ["0", "1,", "\0\0\0\0\n", "1,\0\0\n", "x", ",\n", "\udcff\n", '"'])
def test_a_torn_row_is_dropped(tmp_path: Path, torn: str):
    path = tmp_path / "log.csv"
    path.write_bytes(f"step,loss\n0,0.5\n{torn}".encode(errors="surrogateescape"))
    table = Table(path, ["step", "loss"], below=1)
    table.write([1, 0.4])
    assert path.read_text().split() == ["step,loss", "0,0.5", "1,0.4"]


def test_a_full_disk_leaves_the_rows_that_are_there(tmp_path: Path):
    path = tmp_path / "log.csv"
    before = "step,loss\n" + "".join(f"{step},0.5\n" for step in range(100))
    path.write_text(before)
    told = r"log\.csv cannot be written \(File too large\); is the disk full"
    with small_files(200), pytest.raises(OutputError, match=told):
        Table(path, ["step", "loss"], below=100)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_row_that_cannot_be_written_is_told(tmp_path: Path):
    table = Table(tmp_path / "log.csv", ["step", "loss"], below=0)
    with small_files(20), pytest.raises(OutputError, match=r"log\.csv cannot be written"):
        table.write([0, "0.123456789"])


def test_a_score_is_kept_to_the_last_bit(tmp_path: Path):
    plan = recipe("lite")
    options = TrainOptions(data=tmp_path, output=tmp_path, recipe=plan, validate=tmp_path)
    score = 0.1 + 0.2
    with TrainingLog(options, 2) as log:
        log.add_validation(ValidationReport(2, {"one-shot": score}, score, True, tmp_path / "none.png", 1.0))
    with TrainingLog(options, 2) as log:
        assert log.scores == [(2, score)]
