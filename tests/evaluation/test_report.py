"""What is written of a score: CSV, plot, and the command's table and JSON."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from rvos_cli.cli.evaluate import evaluate
from rvos_cli.errors import OutputError, UsageError
from rvos_cli.evaluation import DatasetScore, SequenceScorer
from rvos_cli.evaluation.report import write_csv, write_plot


def some_score() -> DatasetScore:
    truth = np.zeros((48, 64), np.uint8)
    truth[5:20, 5:20], truth[25:40, 30:60] = 1, 2
    sequences = []
    for name, shift in (("first", 0), ("second", 3)):
        scorer = SequenceScorer("semi-supervised", name=name)
        for _ in range(6):
            scorer.feed(np.roll(truth, shift, axis=1), truth)
        sequences.append(scorer.finish())
    return DatasetScore(task="semi-supervised", sequences=tuple(sequences))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for kind in ("pred", "gt"):
        for name in ("a", "b"):
            folder = tmp_path / kind / name
            folder.mkdir(parents=True)
            for index in range(4):
                canvas = np.zeros((48, 64), np.uint8)
                canvas[5:20, 5:20] = 1
                Image.fromarray(canvas).save(folder / f"{index}.png")
    return tmp_path


def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(evaluate)
    return app


def test_csv_has_objects_sequences_and_the_mean(tmp_path: Path) -> None:
    score = some_score()
    write_csv(tmp_path / "new" / "scores.csv", score)
    with (tmp_path / "new" / "scores.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["sequence"], row["object"]) for row in rows] == [
        ("first", "1"),
        ("first", "2"),
        ("first", "all"),
        ("second", "1"),
        ("second", "2"),
        ("second", "all"),
        ("all", "all"),
    ]
    assert float(rows[-1]["J&F-Mean"]) == pytest.approx(score.jf, abs=1e-6)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["scores.csv"]


def test_a_place_that_cannot_be_written_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_csv(tmp_path / "file" / "scores.csv", some_score())


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_plot(tmp_path / "scores.png", some_score())
    with Image.open(tmp_path / "scores.png") as image:
        assert image.width > 400
    with pytest.raises(UsageError, match="name a file that ends"):
        write_plot(tmp_path / "scores.doc", some_score())
    assert [path.name for path in tmp_path.iterdir()] == ["scores.png"]


def test_a_plot_without_matplotlib_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(UsageError, match=r"rvos-cli\[plot\]"):
        write_plot(tmp_path / "scores.png", some_score())


def test_the_command_prints_a_table(folders: Path) -> None:
    result = CliRunner().invoke(command(), ["--pred", str(folders / "pred"), "--gt", str(folders / "gt")])
    assert result.exit_code == 0, result.output
    assert "sequences: 2, objects: 2" in result.output
    assert "1.000" in result.output


def test_json_is_one_document(folders: Path) -> None:
    arguments = ["--pred", str(folders / "pred"), "--gt", str(folders / "gt"), "--task", "unsupervised", "--json"]
    arguments += ["--sequences", "b", "--csv", str(folders / "out.csv")]
    result = CliRunner().invoke(command(), arguments)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["task"] == "unsupervised"
    assert document["J&F-Mean"] == 1.0
    assert [sequence["name"] for sequence in document["sequences"]] == ["b"]
    assert (folders / "out.csv").is_file()


def test_sequences_may_stand_in_a_file(folders: Path) -> None:
    (folders / "val.txt").write_text("a\n\n")
    arguments = ["--pred", str(folders / "pred"), "--gt", str(folders / "gt"), "--sequences", str(folders / "val.txt")]
    result = CliRunner().invoke(command(), arguments)
    assert result.exit_code == 0, result.output
    assert "sequences: 1" in result.output
