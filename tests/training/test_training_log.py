"""Tables of a run that goes on."""

from __future__ import annotations

from pathlib import Path

from rvos_cli.training.training_log import Table


def test_a_table_goes_on_below_the_rows_that_stay(tmp_path: Path):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n0,0.5\n1,0.4\n2,0.3\n")
    table = Table(path, ["step", "loss", "waited"], below=2)  # of a version that counted no waits
    table.write([2, 0.25, 0.1])
    table.close()
    assert path.read_text().split() == ["step,loss,waited", "0,0.5,", "1,0.4,", "2,0.25,0.1"]
