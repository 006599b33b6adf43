"""benchmarks/precision.py: what counts as agreement, and a run over two small sequences."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from trees import davis2017


@pytest.fixture
def precision(script) -> ModuleType:
    return script("precision")


def test_agreement_is_counted_for_every_object_that_either_has(precision: ModuleType):
    first, second = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    first[0], second[0, :2] = 1, 1
    second[3] = 2
    assert precision.agreement(first, second) == [0.5, 0.0]
    assert precision.agreement(first, first) == [1.0]
    assert precision.agreement(first * 0, first * 0) == []


def test_every_form_gets_a_row_and_the_reference_agrees_with_itself(precision: ModuleType, tmp_path: Path, capsys):
    davis = davis2017(tmp_path / "davis")
    assert precision.main(["--data", str(davis), "--size", "64"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    assert [row[0].strip("| ") for row in rows] == list(precision.FORMS)
    assert rows[0][1:3] == ["1.0000", "1.0000"]
    assert rows[0][4].startswith("1.00")
    assert all(float(row[1]) > 0.9 for row in rows)
    assert len({row[3] for row in rows[:2]}) == 1


def test_missing_data_is_told_in_one_line(precision: ModuleType, tmp_path: Path, capsys):
    assert precision.main(["--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
