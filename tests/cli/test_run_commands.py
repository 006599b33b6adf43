import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from squares import FRAMES, HEIGHT, WIDTH, square_labels

from rvos_cli.masks import read_labels, write_indexed_png

CONTRACT = {"input", "frames", "fps", "size", "objects", "outputs", "seconds", "frames_per_second"} | {
    "device",
    "weights",
    "version",
}


def test_track_prints_the_ids_and_where_the_results_lie(rvos, clip, first_mask, tiny_weights):
    done = rvos("track", clip, "--first-mask", first_mask, "--weights", tiny_weights, "-o", "out")
    assert done.code == 0
    assert done.out.splitlines()[0] == "found 2 objects: ids 1, 2"
    assert done.out.splitlines()[1].startswith(f"out: {FRAMES} frames of {WIDTH}x{HEIGHT}, 2 objects, ")
    assert "device cpu" in done.err or "device cuda" in done.err or "device mps" in done.err
    assert np.array_equal(read_labels(Path("out/masks/00000.png")), square_labels())


def test_track_goes_by_masks_of_any_frames(rvos, clip, tiny_weights):
    Path("fixes").mkdir()
    write_indexed_png("fixes/00001.png", square_labels(1, right=False))
    write_indexed_png("fixes/00003.png", square_labels(3))
    done = rvos("track", clip, "--frame-masks", "fixes", "--weights", tiny_weights, "--device", "cpu", "-o", "out")
    assert done.code == 0
    assert done.out.splitlines()[0] == "found 2 objects: ids 1, 2"
    for index, right in ((1, False), (3, True)):
        assert np.array_equal(read_labels(f"out/masks/{index:05d}.png"), square_labels(index, right=right))


def test_where_masks_are_doubtful_is_told_and_written(rvos, clip, quick):
    done = rvos("segment", clip, *quick)
    assert f"doubtful: object 1 in frames 0 to {FRAMES - 1}" in done.err.splitlines()
    doubts = json.loads(Path("rvos-out/clip/summary.json").read_text())["doubts"]
    assert doubts == [{"id": 1, "first_frame": 0, "last_frame": FRAMES - 1, "confidence": 0.5}]
    assert "doubtful" not in rvos("segment", clip, *quick, "-q", "-f").err


def test_json_is_the_only_thing_on_stdout(rvos, clip, first_mask, quick):
    done = rvos("track", clip, "--first-mask", first_mask, *quick, "--json")
    summary = json.loads(done.out)
    assert set(summary) >= CONTRACT
    assert summary == json.loads(Path("rvos-out/clip/summary.json").read_text())
    assert set(summary["objects"][0]) == {"id", "first_frame", "last_frame", "frames_seen", "mean_area"}
    assert "found 2 objects: ids 1, 2" in done.err


def test_quiet_says_nothing_but_errors(rvos, clip, quick):
    assert (lambda done: (done.code, done.out, done.err))(rvos("segment", clip, *quick, "-q")) == (0, "", "")
    done = rvos("segment", clip, *quick, "-q")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "--force" in done.error_lines[0]


def test_verbose_tells_the_objects_and_the_weights(rvos, clip, quick):
    done = rvos("segment", clip, *quick, "-v")
    assert "object 1: frames 0 to 5, seen in 6" in done.err
    assert "sha256" in done.err


def test_what_is_not_wanted_is_not_written(rvos, clip, quick):
    done = rvos("segment", clip, *quick, "--no-overlay", "--no-objects", "--size", 64, "--max-objects", 2)
    assert done.code == 0
    assert sorted(path.name for path in Path("rvos-out/clip").iterdir()) == ["masks", "summary.json"]
    assert rvos("segment", clip, *quick, "--no-masks", "--force").code == 0
    assert sorted(path.name for path in Path("rvos-out/clip").iterdir()) == ["objects", "overlay.mp4", "summary.json"]


def test_several_inputs_get_folders_of_their_own_and_do_not_stop_each_other(rvos, clip, frame_folder, quick):
    Path("other").mkdir()
    shutil.copy(clip, "other/clip.mkv")
    done = rvos("segment", clip, "missing.mp4", frame_folder, "other/clip.mkv", *quick, "-o", "out", "--json")
    assert done.code == 3
    assert sorted(path.name for path in Path("out").iterdir()) == ["clip-mkv", "clip-mp4", "frames"]
    documents = json.loads(done.out)
    assert [document.get("frames") for document in documents] == [FRAMES, None, FRAMES, FRAMES]
    assert documents[1]["input"] == "missing.mp4"
    assert "does not exist" in documents[1]["error"]
    assert done.error_lines[-1] == "error: 1 of 4 inputs failed"
    assert rvos("segment", clip, frame_folder, *quick).code == 0


def test_an_image_is_a_video_of_one_frame(rvos, frame_folder, quick):
    done = rvos("segment", frame_folder / "shot8.png", *quick)
    assert done.code == 0
    assert [path.name for path in Path("rvos-out/shot8/masks").iterdir()] == ["shot8.png"]


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (("segment", "missing.mp4"), "check the path"),
        (("segment", "text.mp4"), "check that it plays"),
        (("segment", "https://example.org/street.mp4"), "download the video"),
        (("segment", "empty"), "folder of frames"),
        (("track", "clip.mp4", "--first-mask", "missing.png"), ";"),
        (("track", "clip.mp4", "--first-mask", "black.png"), ";"),
        (("track", "clip.mp4", "--first-mask", "tall.png"), ";"),
        (("track", "clip.mp4", "--frame-masks", "empty"), "put them in, named as in masks/"),
        (("track", "clip.mp4", "--frame-masks", "missing"), "check the path"),
        (("segment", "clip.mp4", "--weights", "no-such-weights"), "weights"),
        (("segment", "clip.mp4", "--device", "cuda:99"), ";"),
        (("batch", "missing"), "folder"),
        (("batch", "empty"), "folder"),
        (("batch", "clip.mp4"), "'rvos segment' or 'rvos track'"),
        (("weights", "info", "no-such-weights"), ";"),
        (("bench", "missing.mp4"), "check the path"),
    ],
)
def test_a_named_failure_is_one_line_and_code_1(rvos, clip, tiny_weights, words, cure):
    Path("text.mp4").write_text("no video")
    Path("empty").mkdir()
    Image.new("L", (WIDTH, HEIGHT)).save("black.png")
    Image.new("L", (40, 200), 255).save("tall.png")
    chosen = () if "--weights" in words or words[0] == "weights" else ("--weights", tiny_weights)
    done = rvos(*words, *chosen)
    assert done.code == 1
    assert done.out == ""
    assert done.err.splitlines() == done.error_lines
    assert len(done.error_lines) == 1
    assert cure in done.error_lines[0]


@pytest.mark.parametrize(
    "words",
    [
        ("segment",),
        ("segment", "clip.mp4", "--no-such-option"),
        ("segment", "clip.mp4", "--size", "8"),
        ("segment", "clip.mp4", "--size", "wide"),
        ("segment", "clip.mp4", "--max-objects", "0"),
        ("segment", "clip.mp4", "--threshold", "2"),
        ("segment", "clip.mp4", "--device", "toaster"),
        ("track", "clip.mp4"),
        ("no-such-command",),
        ("weights", "import"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(rvos, clip, words):
    done = rvos(*words)
    assert (done.code, done.out) == (2, "")
    assert len(done.error_lines) == 1


def test_wrong_weights_are_told_before_the_video_is_opened(rvos, zero_shot_weights):
    done = rvos("track", "missing.mp4", "--first-mask", "missing.png", "--weights", zero_shot_weights)
    assert done.code == 1
    assert "zero-shot" in done.error_lines[0]


def test_bench_measures_the_network_and_the_whole(rvos, clip, quick):
    done = rvos("bench", clip, "--frames", 4, *quick, "--json")
    result = json.loads(done.out)
    for name in ("network", "end_to_end"):
        assert result[name]["seconds_per_frame"] > 0
        assert result[name]["objects"] == 2
    assert result["network"]["frames"] == 4
    assert not Path("rvos-out").exists()


def test_the_demo_runs_both_modes_and_says_where_to_look(rvos, quick, monkeypatch, clip, first_mask):
    monkeypatch.setattr("rvos_cli.cli.demo.demo_files", lambda: (clip, first_mask))
    for _ in range(2):
        done = rvos("demo", *quick)
        assert done.code == 0
        for mode in ("track", "segment"):
            overlay = Path("rvos-out/demo", mode, "overlay.mp4")
            assert overlay.stat().st_size > 0
            assert str(overlay) in done.out


def test_doctor_is_ready_for_a_bug_report(rvos):
    done = rvos("doctor", "--json")
    report = json.loads(done.out)
    assert done.code == 0
    assert set(report) >= {"rvos", "python", "platform", "packages", "devices", "ffmpeg", "weights", "problems"}
    assert report["ffmpeg"]["encoder libx264"] == "yes"
    assert "torch: " in rvos("doctor").out


def test_doctor_tells_that_python_may_not_keep_what_it_compiles(rvos, monkeypatch, tmp_path):
    cached = tmp_path / "torch.pyc"
    monkeypatch.setattr(torch.__spec__, "cached", str(cached))
    assert "not kept" in rvos("doctor").out
    cached.touch()
    assert json.loads(rvos("doctor", "--json").out)["bytecode"] == "kept"


def test_doctor_tells_that_the_current_folder_is_gone(rvos, monkeypatch):
    def gone() -> Path:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", gone)
    done = rvos("doctor", "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["problems"] == ["there is no current folder (No such file or directory); change to one that is there"]
    assert report["devices"] == {} and report["weights"]


def test_doctor_tells_of_weights_that_cannot_be_read(rvos, monkeypatch):
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("rvos_cli.manifest.sha256_of", refuse)
    done = rvos("doctor", "--json")
    assert done.code == 0
    assert any("cannot be read (Permission denied)" in line for line in json.loads(done.out)["problems"])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are always text")
def test_a_name_that_is_no_text_is_printed_all_the_same(rvos, clip, quick):
    path = clip.rename(os.fsdecode(os.fsencode(clip.parent) + b"/caf\xe9.mp4"))
    done = rvos("segment", path, *quick)
    assert (done.code, done.error_lines) == (0, [])
    done = rvos("segment", path, *quick, "--force", "--json", "--quiet")
    assert json.loads(done.out)["input"] == str(path)
