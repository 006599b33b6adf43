"""Folders of masks in, scores out: layouts, missing and damaged files, parallel and serial alike."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rvos_cli.errors import DatasetError
from rvos_cli.evaluation import Sequence, Submission, evaluate_folders, evaluate_sequence
from rvos_cli.evaluation.folders import read_mask
from rvos_cli.training.library import Library


def write(folder: Path, count: int, *, ids: int = 2, shift: int = 0, mode: str = "P") -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        canvas = np.zeros((48, 64), np.uint8)
        for k in range(ids):
            canvas[5:20, 5 + 25 * k + shift : 20 + 25 * k + shift] = k + 1
        image = Image.fromarray(canvas)
        if mode == "P":
            image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        image.convert(mode).save(folder / f"{index:05d}.png")
    return folder


def test_one_folder_a_sequence(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "gt" / name, 5)
        write(tmp_path / "pred" / name, 5, shift=1 if name == "b" else 0)
    score = evaluate_folders(tmp_path / "pred", tmp_path / "gt", "semi-supervised")
    assert [sequence.name for sequence in score.sequences] == ["a", "b"]
    assert score.sequences[0].jf == 1.0
    assert 0.8 < score.sequences[1].jf < 1.0
    assert score.jf == pytest.approx((1.0 + score.sequences[1].jf) / 2)


def test_parallel_processes_give_what_one_gives(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / "gt" / name, 40)
        write(tmp_path / "pred" / name, 40, shift=len(name))
    seen: list[str] = []
    parallel = evaluate_folders(
        tmp_path / "pred", tmp_path / "gt", "unsupervised", workers=2, on_sequence=lambda score: seen.append(score.name)
    )
    serial = evaluate_folders(tmp_path / "pred", tmp_path / "gt", "unsupervised", workers=1)
    assert parallel == serial
    assert sorted(seen) == ["a", "b", "c"]


def test_an_error_in_a_worker_is_the_same_named_error(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "gt" / name, 60)
        write(tmp_path / "pred" / name, 60, ids=3 if name == "b" else 2)
    with pytest.raises(DatasetError, match="b: the prediction has object 3"):
        evaluate_folders(tmp_path / "pred", tmp_path / "gt", "semi-supervised", workers=2)


def test_davis_roots_and_batch_outputs_are_understood(tmp_path: Path) -> None:
    write(tmp_path / "davis" / "Annotations" / "480p" / "a", 4)
    write(tmp_path / "davis" / "Annotations_unsupervised" / "480p" / "a", 4, ids=1)
    write(tmp_path / "out" / "a" / "masks", 4)
    one_shot = evaluate_folders(tmp_path / "out", tmp_path / "davis", "semi-supervised")
    zero_shot = evaluate_folders(tmp_path / "out", tmp_path / "davis", "unsupervised")
    assert len(one_shot.objects) == 2
    assert len(zero_shot.objects) == 1
    assert one_shot.jf == zero_shot.jf == 1.0
    assert evaluate_folders(tmp_path / "out", tmp_path / "out", "semi-supervised").jf == 1.0


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    write(tmp_path / "masks" / "a", 4)
    assert evaluate_folders("~/masks", "~/masks", "semi-supervised").jf == 1.0
    assert evaluate_sequence("~/masks/a", "~/masks/a", "semi-supervised").jf == 1.0
    assert Submission("~/out.zip").path == tmp_path / "out.zip"


def test_grey_masks_serve_as_palette_masks_do(tmp_path: Path) -> None:
    write(tmp_path / "gt" / "a", 4)
    write(tmp_path / "pred" / "a", 4, mode="P")
    for path in (tmp_path / "pred" / "a").iterdir():
        Image.fromarray(np.asarray(Image.open(path))).save(path)
    assert evaluate_folders(tmp_path / "pred", tmp_path / "gt", "semi-supervised").jf == 1.0


def test_frames_without_truth_are_ignored_and_left_out_frames_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path / "gt" / "a", 5)
    write(tmp_path / "pred" / "a", 9)
    (tmp_path / "pred" / "a" / "00000.png").unlink()
    (tmp_path / "pred" / "a" / "00004.png").unlink()
    assert evaluate_folders(tmp_path / "pred", tmp_path / "gt", "semi-supervised").jf == 1.0


def test_what_is_missing_or_damaged_is_named(tmp_path: Path) -> None:
    write(tmp_path / "gt" / "a", 4)
    with pytest.raises(DatasetError, match="name the folder of predictions"):
        evaluate_folders(tmp_path / "pred", tmp_path / "gt", "unsupervised")
    with pytest.raises(DatasetError, match="name the folder of predictions"):
        evaluate_folders(tmp_path / ("long" * 99), tmp_path / "gt", "unsupervised")
    (tmp_path / "pred").mkdir()
    with pytest.raises(DatasetError, match=r"pred.a holds no PNG masks; choose the sequences"):
        evaluate_folders(tmp_path / "pred", tmp_path / "gt", "unsupervised")
    with pytest.raises(DatasetError, match="holds no folder with PNG masks"):
        evaluate_folders(tmp_path / "pred", tmp_path / "pred", "unsupervised")
    write(tmp_path / "pred" / "a", 4)
    (tmp_path / "pred" / "a" / "00002.png").unlink()
    with pytest.raises(DatasetError, match="a: no prediction for frame 00002"):
        evaluate_folders(tmp_path / "pred", tmp_path / "gt", "unsupervised")
    (tmp_path / "pred" / "a" / "00002.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(DatasetError, match=r"00002.png cannot be read"):
        evaluate_folders(tmp_path / "pred", tmp_path / "gt", "unsupervised")
    Image.new("RGB", (64, 48)).save(tmp_path / "pred" / "a" / "00002.png")
    with pytest.raises(DatasetError, match="has mode RGB"):
        evaluate_folders(tmp_path / "pred", tmp_path / "gt", "unsupervised")


def test_what_pillow_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "gt", 1)
    path = folder / "00000.png"
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    one = Sequence("one", (), {"00000": path}, ("00000",), merged=True)
    for read in (read_mask, lambda path: one.truth("00000"), Library((), {}, {}, {}).labels):
        with pytest.raises(DatasetError, match=r"00000\.png.*decompression bomb"):
            read(path)
    monkeypatch.undo()
    long = PngInfo()
    long.add_text("comment", "x" * 2_000_000, zip=True)
    Image.new("P", (64, 48)).save(path, pnginfo=long)
    for read in (read_mask, lambda path: one.truth("00000")):
        with pytest.raises(DatasetError, match=r"00000\.png cannot be read"):
            read(path)


def test_scoring_loads_no_torch() -> None:
    code = "import sys, rvos_cli.evaluation; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_frames_count_in_their_natural_order_whatever_the_case_of_their_suffix(tmp_path: Path) -> None:
    for folder in ("gt", "pred"):
        write(tmp_path / folder / "a", 12)
        for index in range(12):
            (tmp_path / folder / "a" / f"{index:05d}.png").rename(tmp_path / folder / "a" / f"{index}.PNG")
    for end in ("0.PNG", "11.PNG"):  # the first and the last, which are not scored
        Image.new("L", (64, 48)).save(tmp_path / "pred" / "a" / end)
    assert evaluate_folders(tmp_path / "pred", tmp_path / "gt", "semi-supervised").jf == 1.0
