"""The batch command: what it prints and writes, and which masks it finds."""

import json
import shutil
from pathlib import Path

import numpy as np
from squares import square_labels

from rvos_cli.masks import read_labels, write_indexed_png


def test_batch_tells_what_happened_and_goes_on(rvos, clip, first_mask, frame_folder, quick):
    tree = Path("tree")
    tree.mkdir()
    shutil.move(clip, tree / "a.mp4")
    shutil.move(first_mask, tree / "a.png")
    shutil.move(frame_folder, tree / "shots")
    (tree / "broken.mp4").write_text("no video")
    done = rvos("batch", tree, *quick)
    assert done.code == 3
    lines = done.out.splitlines()
    assert [line.split()[1:3] for line in lines] == [
        ["mode", "status"],
        ["track", "done"],
        ["segment", "failed"],
        ["segment", "done"],
    ]
    assert any("broken.mp4" in line for line in done.error_lines)
    assert done.error_lines[-1] == "error: 1 of 3 inputs failed"
    (tree / "broken.mp4").unlink()
    done = rvos("batch", tree, *quick, "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert (report["done"], report["skipped"], report["failed"]) == (0, 2, 0)
    assert json.loads(rvos("batch", tree, *quick, "--json", "--force").out)["done"] == 2


def test_batch_takes_its_first_masks_from_a_folder(rvos, clip, quick):
    Path("tree").mkdir()
    shutil.move(clip, "tree/a.mp4")
    Path("first").mkdir()
    write_indexed_png(Path("first/a.png"), square_labels())
    report = json.loads(rvos("batch", "tree", "--masks", "first", "--no-masks", *quick, "--json").out)
    assert report["jobs"][0]["first_mask"] == str(Path("first/a.png"))
    assert set(report["jobs"][0]["summary"]["outputs"]) == {"overlay", "objects", "summary"}


def test_batch_goes_by_corrected_masks(rvos, clip, quick):
    Path("tree").mkdir()
    shutil.move(clip, "tree/clip.mp4")
    Path("fixes/clip").mkdir(parents=True)
    write_indexed_png("fixes/clip/00002.png", square_labels(2, right=False))
    done = rvos("batch", "tree", "--frame-masks", "fixes", *quick, "--json")
    (job,) = json.loads(done.out)["jobs"]
    assert (done.code, job["status"], job["summary"]["mode"]) == (0, "done", "track")
    assert (job["first_mask"], job["frame_masks"]) == (None, str(Path("fixes/clip")))
    assert np.array_equal(read_labels("rvos-out/clip/masks/00002.png"), square_labels(2, right=False))


def test_batch_tells_of_masks_that_are_of_no_input(rvos, clip, quick):
    Path("tree").mkdir()
    shutil.move(clip, "tree/clip.mp4")
    for name in ("fixes/00002.png", "first/clp.png"):
        Path(name).parent.mkdir()
        write_indexed_png(name, square_labels(2))
    done = rvos("batch", "tree", "--frame-masks", "fixes", *quick)
    assert (done.code, Path("rvos-out").exists()) == (1, False)
    assert done.err == (
        f"error: fixes has masks, but of no input below tree; put those of clip into {Path('fixes/clip')}\n"
    )
    Path("fixes/clip").mkdir()
    shutil.copy("fixes/00002.png", "fixes/clip")
    done = rvos("batch", "tree", "--frame-masks", "fixes", "--masks", "first", *quick)
    assert done.code == 0
    assert "warning: the masks in fixes are of no input below tree\n" in done.err
    assert "warning: no mask in first is of an input below tree\n" in done.err
    Path("fixes/00002.png").unlink()
    done = rvos("batch", "tree", "--frame-masks", "fixes", *quick)
    assert done.code == 0 and "warning" not in done.err


def test_a_batch_may_be_named_with_a_tilde(rvos, clip, quick, monkeypatch):
    monkeypatch.setenv("HOME", str(clip.parent))
    monkeypatch.setenv("USERPROFILE", str(clip.parent))
    report = json.loads(rvos("batch", "~", *quick, "-o", "~/out", "--json").out)
    assert report["done"] == 1
    assert (clip.parent / "out" / "clip" / "summary.json").is_file()
