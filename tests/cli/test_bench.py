"""``rvos bench``: what it prints and writes, on a clip of a few frames with a tiny network."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from squares import FRAMES, HEIGHT, WIDTH

from rvos_cli.benchmarking import STAGES

NETWORK_STAGES = ("decode", "preprocess", "encode", "matching", "decode slots", "postprocess", "overlay", "write")


def tiny(weights: Path) -> tuple[object, ...]:
    return ("--weights", weights, "--device", "cpu", "--frames", 3)


def test_the_stages_and_conditions_stand_in_the_document(rvos, clip, tiny_weights):
    result = json.loads(rvos("bench", clip, "--objects", 2, *tiny(tiny_weights), "--no-half", "--json").out)
    assert tuple(result["stages"]) == STAGES
    assert all(result["stages"][stage] > 0 for stage in NETWORK_STAGES)
    assert (result["mode"], result["precision"]) == ("track", "float32")
    assert result["size"] == {"source": [HEIGHT, WIDTH], "network": [64, 96]}
    assert (result["network"]["frames"], result["end_to_end"]["frames"]) == (3, FRAMES)
    assert result["end_to_end"]["objects"] == 2
    assert result["network"]["slowest"] >= result["network"]["seconds_per_frame"] > 0


def test_nothing_is_left_on_the_disk_but_the_plot(rvos, clip, tiny_weights):
    before = set(Path.cwd().iterdir())
    done = rvos("bench", clip, "--objects", 1, *tiny(tiny_weights), "--plot", "deep/stages.png")
    assert done.code == 0
    assert set(Path.cwd().iterdir()) - before == {Path.cwd() / "deep"}
    with Image.open("deep/stages.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 3


def test_the_table_has_a_line_for_every_stage(rvos, clip, tiny_weights):
    lines = rvos("bench", clip, "--objects", 1, *tiny(tiny_weights)).out.splitlines()
    assert lines[0].startswith("network: ")
    assert lines[1].startswith("end to end: ")
    assert lines[2].split() == ["stage", "ms", "a", "frame", "share"]
    assert [line[: line.index("  ")] for line in lines[3:]] == [*STAGES, "sum"]


def test_on_a_terminal_the_table_is_drawn(rvos, clip, tiny_weights, monkeypatch):
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True, raising=False)
    done = rvos("bench", clip, "--objects", 1, *tiny(tiny_weights), "--quiet")
    assert done.out == ""
    done = rvos("bench", clip, "--objects", 1, *tiny(tiny_weights))
    assert "│ decode slots │" in done.out


def test_without_objects_the_network_looks_for_them(rvos, clip, tiny_weights):
    result = json.loads(rvos("bench", clip, *tiny(tiny_weights), "--max-objects", 2, "--json").out)
    assert result["mode"] == "segment"
    assert all(result["stages"][stage] > 0 for stage in ("encode", "decode slots", "postprocess"))


def test_weights_that_cannot_follow_are_measured_finding(rvos, clip, zero_shot_weights):
    result = json.loads(rvos("bench", clip, *tiny(zero_shot_weights), "--json").out)
    assert result["mode"] == "segment"
    assert result["stages"]["matching"] == 0
    done = rvos("bench", clip, *tiny(zero_shot_weights), "--objects", 2)
    assert done.code == 1
    assert "zero-shot" in done.error_lines[0]


def test_a_clip_shorter_than_asked_for_is_played_again(rvos, clip, tiny_weights):
    done = rvos("bench", clip, "--objects", 1, *tiny(tiny_weights)[:4], "--frames", 2 * FRAMES, "--json")
    assert json.loads(done.out)["network"]["frames"] == 2 * FRAMES


@pytest.mark.parametrize(
    "words", [("--objects", "0"), ("--objects", "255"), ("--frames", "0"), ("--plot", "stages.doc"), ("--size", "8")]
)
def test_wrong_usage_is_one_line_and_code_2(rvos, clip, tiny_weights, words):
    done = rvos("bench", clip, "--weights", tiny_weights, "--device", "cpu", *words)
    assert (done.code, done.out, len(done.error_lines)) == (2, "", 1)


def test_a_plot_without_matplotlib_is_refused_before_anything_is_measured(rvos, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = rvos("bench", "missing.mp4", "--plot", "stages.png")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == done.error_lines
    assert "pip install 'rvos-cli[plot]'" in done.error_lines[0]
