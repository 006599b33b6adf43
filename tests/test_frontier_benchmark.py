"""benchmarks/frontier.py on small DAVIS trees: what nothing beats, whose turn it is, what is scored and written."""

import json
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from trees import davis2017

import rvos_cli as rvos
from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.weights import save_weights

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"
SECTIONS = "# A\n<!-- frontier: cpu -->\nold\n<!-- end of frontier: cpu -->\nrest\n"


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """Two sequences of two objects and five frames."""
    return davis2017(tmp_path / "davis")


class Recorder:
    """Follows perfectly, finds half of each object, and notes who was asked for what.

    Its clock stands still but for each frame: ten seconds for the first three, then *size* milliseconds.
    """

    half, device, config = False, torch.device("cpu"), ModelConfig(size=96)

    def __init__(self, davis: Path, name: str, sha256: str, asked: list[tuple[str, str, int, bool]]) -> None:
        self.name, self.sha256, self.asked, self.clock = name, sha256, asked, 0.0
        self.masks = davis / "Annotations" / "480p"

    def stream(self, images: list[Any], *, first_mask: Path | None = None, size: int = 0) -> Iterator[rvos.FrameMasks]:
        return self._frames(images, first_mask, size)

    def _frames(self, images: list[Any], first_mask: Path | None, size: int) -> Iterator[rvos.FrameMasks]:
        sequence = "" if first_mask is None else first_mask.parent.name
        self.asked.append((sequence, self.name, size, first_mask is not None))
        for index, image in enumerate(images):
            labels = np.asarray(Image.open(self.masks / "bear" / f"{index:05d}.png")).copy()
            if first_mask is None:
                labels[:, : labels.shape[1] // 4] = 0
            self.clock += size / 1000 if index >= 3 else 10
            yield rvos.FrameMasks(index=index, time=Fraction(index), name="", image=image, labels=labels)


@pytest.fixture
def recorded(script, davis, monkeypatch) -> list[tuple[str, str, int, bool]]:
    """Let the script load recorders, with names and sha256 made of the paths given; return what they were asked."""
    asked: list[tuple[str, str, int, bool]] = []
    recorders: list[Recorder] = []

    def load(name: str, **_: object) -> Recorder:
        recorders.append(Recorder(davis, Path(name).stem, Path(name).parent.name * 64, asked))
        return recorders[-1]

    monkeypatch.setattr(rvos, "load_model", load)
    clock = SimpleNamespace(perf_counter=lambda: sum(each.clock for each in recorders))
    monkeypatch.setattr(script("clips"), "time", clock)
    return asked


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(1, 0.5)], [True]),
        ([(1, 0.5), (2, 0.6), (3, 0.7)], [True, True, True]),
        ([(1, 0.5), (2, 0.5), (3, 0.7)], [True, False, True]),
        ([(3, 0.7), (1, 0.5), (3, 0.6)], [True, True, False]),
        ([(1, 0.9), (2, 0.6), (3, 0.7)], [True, False, False]),
        ([(2, 0.6), (2, 0.6)], [True, True]),
        ([], []),
    ],
)
def test_the_frontier_is_what_nothing_beats(script, points, expected):
    assert script("frontier_report").on_frontier(points) == expected


def point(script, series: str, size: int, ms: float, union: float, **more: Any) -> Any:
    return script("frontier_report").Point(
        series=series,
        size=size,
        default=size == 352,
        grid=f"{2 * size}x{size}",
        ms=ms,
        union=union,
        unmerged=0.5,
        **more,
    )


def test_the_table_names_weights_and_zero_shot_only_where_there_is_something_to_tell(script):
    first, second = point(script, "a", 256, 90.55, 0.8), point(script, "a", 352, 250, 0.79)
    assert script("frontier_report").table([first, second]).splitlines() == [
        "| size | grid | ms a frame | frames/s | one-shot union | one-shot unmerged | on the frontier |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| 256 | 512x256 | 90.5 | 11.0 | 0.800 | 0.500 | yes |",
        "| 352 (default) | 704x352 | 250 | 4.0 | 0.790 | 0.500 | no |",
    ]
    both = script("frontier_report").table([first, point(script, "b", 64, 2.5, 0.1, zero_shot=0.25)]).splitlines()
    assert both[0].startswith("| weights | size |") and "| zero-shot union | on" in both[0]
    assert both[2] == "| a | 256 | 512x256 | 90.5 | 11.0 | 0.800 | 0.500 | - | yes |"
    assert both[3] == "| b | 64 | 128x64 | 2.50 | 400.0 | 0.100 | 0.500 | 0.250 | yes |"


@pytest.mark.parametrize(("factor", "line"), [(1, True), (0.02, False), (40, False)])
def test_the_picture_has_five_frames_a_second_only_where_the_points_are_near(
    script, tmp_path, monkeypatch, factor, line
):
    axes = pytest.importorskip("matplotlib.axes").Axes
    drawn: list[float] = []
    monkeypatch.setattr(axes, "axvline", lambda _, x, **__: drawn.append(x))
    points = [point(script, name, size, factor * size / 2, size / 500) for name in "ab" for size in (192, 352, 448)]
    script("frontier_report").draw(points, tmp_path / "a.png", "title")
    assert drawn == [200] * line
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.format == "PNG"
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert {(0x2F, 0x6F, 0xDF), (0xE0, 0x8B, 0x2D)} <= colours


def test_sizes_and_weights_take_turns_and_the_first_frames_do_not_count(script, davis, recorded, tmp_path, capsys):
    words = ["--data", str(davis), "--sizes", "96,64", "--weights", "x/a.safetensors", "--weights", "x/b.safetensors"]
    assert script("frontier").main([*words, "--zero-shot", "--json", str(tmp_path / "out" / "a.json")]) == 0
    turns = [(size, name) for size in (64, 96) for name in "ab"]
    followed = [(sequence, size, name) for sequence, name, size, follows in recorded if follows]
    assert followed == [(sequence, *turn) for sequence in ("bear", "cows") for turn in turns]
    assert [(size, name) for _, name, size, follows in recorded if not follows] == turns * 2

    rows = json.loads((tmp_path / "out" / "a.json").read_text())["rows"]
    assert [(row["series"], row["size"]) for row in rows] == [
        (f"{n}, float32", size) for n in "ab" for size in (64, 96)
    ]
    for row in rows:
        assert row["ms"] == pytest.approx(row["size"])
        assert [len(each["seconds"]) for each in row["passes"]] == [2, 2]
        assert row["union"] == row["unmerged"] == 1
        assert 0.3 < row["zero_shot"] < 1
        assert row["default"] == (row["size"] == 96)
        assert row["on_frontier"] == (row["size"] == 64)
    assert "| a, float32 | 96 (default) | 128x96 | 96.0 | 10.4 | 1.000 | 1.000 | 0." in capsys.readouterr().out


def test_weights_of_one_name_are_told_apart_by_their_content(script, davis, recorded, capsys):
    words = ["--data", str(davis), "--sizes", "64", "--weights", "x/lite.safetensors"]
    assert script("frontier").main([*words, "--weights", "y/lite.safetensors"]) == 0
    printed = capsys.readouterr().out
    assert "| lite xxxxxxxx, float32 | 64 |" in printed
    assert "| lite yyyyyyyy, float32 | 64 |" in printed


def test_scores_are_those_of_the_accuracy_benchmark(script, davis, tiny_weights, tmp_path, capsys):
    words = ["--data", str(davis), "--weights", str(tiny_weights), "--device", "cpu"]
    assert script("frontier").main([*words, "--sizes", "64", "--zero-shot", "--json", str(tmp_path / "a.json")]) == 0
    assert script("accuracy").main([*words, "--size", "64", "--json", str(tmp_path / "b.json")]) == 0
    ours, theirs = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    row, rows = ours["rows"][0], theirs["rows"]
    assert row["union"] == pytest.approx(rows["one-shot J&F, union"])
    assert row["unmerged"] == pytest.approx(rows["one-shot J&F, unmerged"])
    assert row["zero_shot"] == pytest.approx(rows["zero-shot J&F, union"])
    assert 0 < row["union"] < 1


def test_a_run_fills_its_section_and_draws_its_picture(script, davis, tiny_weights, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    readme, images = tmp_path / "doc" / "README.md", tmp_path / "doc" / "images"
    readme.parent.mkdir()
    readme.write_text(SECTIONS)
    words = ["--data", str(davis), "--weights", str(tiny_weights), "--device", "cpu", "--sizes", "64,96", "--half"]
    words += ["--frames", "4", "--sequences", "cows", "--write", "--readme", str(readme), "--images", str(images)]
    assert script("frontier").main(words) == 0
    text = readme.read_text()
    assert text.startswith("# A\n<!-- frontier: cpu -->\n20")
    assert text.endswith("(images/frontier-cpu.png)\n<!-- end of frontier: cpu -->\nrest\n")
    assert text.count("| tiny, bfloat16 | ") == text.count("| tiny, float32 | ") == 2
    assert "| tiny, float32 | 64 (default) | 96x64 | " in text
    assert f"torch {torch.__version__}; threads: {torch.get_num_threads()}. tiny, float32 (sha256 " in text
    assert "Sequences: 1, with 4 frames." in text
    assert "`python benchmarks/frontier.py --data davis --weights tiny.safetensors --device cpu --sizes 64,96" in text
    assert "old" not in text and str(tmp_path) not in text
    assert capsys.readouterr().out.strip() in text
    with Image.open(images / "frontier-cpu.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--sizes", "64,big"], 2, "--sizes 64,big"),
        (["--sizes", "8"], 2, "size must be between 64 and"),
        (["--frames", "3"], 2, "--frames 3 is too few"),
        (["--sequences", "bear,swan"], 1, "no sequence swan"),
        (["--device", "abacus"], 2, "abacus"),
        (["--weights", "nowhere.safetensors"], 1, "nowhere.safetensors"),
        (["--weights", "TINY", "--weights", "TINY"], 2, "given twice"),
        (["--weights", "TINY", "--weights", "ZERO"], 1, "zero"),
        (["--weights", "TINY", "--write", "--readme", "README"], 2, "has no lines <!-- frontier: cpu -->"),
        (["--weights", "TINY", "--write", "--readme", "nowhere.md"], 2, "nowhere.md"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_measured(
    script, davis, tmp_path, tiny_weights, zero_shot_weights, capsys, words, code, told
):
    (tmp_path / "README.md").write_text("nothing here")
    places = {"TINY": tiny_weights, "ZERO": zero_shot_weights, "README": tmp_path / "README.md"}
    words = [str(places.get(word, word)) for word in words]
    device = [] if "--device" in words else ["--device", "cpu"]
    assert script("frontier").main(["--data", str(davis), *device, *words]) == code
    captured = capsys.readouterr()
    assert told in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_weights_that_cannot_find_objects_are_named_before_any_others_are_measured(
    script, davis, tiny_weights, tmp_path, capsys
):
    config = ModelConfig(trunk="resnet34", hidden_size=16, key_dim=0, slots=2, size=64)
    follower = tmp_path / "follower.safetensors"
    save_weights(follower, config, RVOS(config).state_dict())
    words = ["--data", str(davis), "--device", "cpu", "--sizes", "64", "--zero-shot"]
    assert script("frontier").main([*words, "--weights", str(tiny_weights), "--weights", str(follower)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "follower" in lines[0]


def test_a_sequence_of_which_no_frame_would_count_is_named(script, davis, tiny_weights, capsys):
    for name in ("00003", "00004"):
        (davis / "JPEGImages" / "480p" / "bear" / f"{name}.jpg").unlink()
        (davis / "Annotations" / "480p" / "bear" / f"{name}.png").unlink()
    assert script("frontier").main(["--data", str(davis), "--weights", str(tiny_weights)]) == 1
    assert capsys.readouterr().err.startswith("bear has 3 frames;")


def test_the_readme_has_a_section_for_each_device(script, tmp_path):
    shutil.copy(SCRIPTS / "README.md", tmp_path)
    for device in ("cpu", "cuda"):
        script("speed_table").write_section(tmp_path / "README.md", device, "new", kind="frontier")
        before, after = script("speed_table").split_section(tmp_path / "README.md", device, kind="frontier")
        assert before.endswith(f"<!-- frontier: {device} -->\n") and after.startswith(
            f"<!-- end of frontier: {device} -->"
        )
    assert (tmp_path / "README.md").read_text().count("-->\nnew\n<!--") == 2
