"""benchmarks/cuts.py: which frames a film is made of, and sequences that are too short for one."""

from pathlib import Path
from types import ModuleType

import pytest
from trees import davis2017

from rvos_cli.errors import DatasetError


@pytest.fixture
def cuts(script) -> ModuleType:
    return script("cuts")


def test_a_film_has_three_shots_of_frames_that_are_there(cuts: ModuleType):
    assert cuts.films(["a", "b", "c", "d"], True)[1] == [("b", 0), ("c", 0), ("b", 16)]
    assert cuts.films(["a", "b", "c", "d"], False)[1] == [("b", 0), ("c", 0), ("d", 16)]


def test_a_sequence_that_is_too_short_is_told(cuts: ModuleType, tmp_path: Path):
    davis = davis2017(tmp_path / "davis")
    with pytest.raises(DatasetError, match=r"bear has \d+ frames; films need 46 of each"):
        cuts.main(["--data", str(davis)])
