"""A run takes merged clips apart first, once and in one process, and learns from the parts."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_training import small_options

from rvos_cli.cli.app import run as rvos
from rvos_cli.errors import UsageError
from rvos_cli.masks import write_indexed_png
from rvos_cli.model import RVOS
from rvos_cli.training.batches import clip_dataset
from rvos_cli.training.datasets import ClipDataset
from rvos_cli.training.loop import train
from rvos_cli.training.run_options import Recipe, Stage, TrainOptions, made_clips
from rvos_cli.training.start import divide_first
from rvos_cli.weights import build_model, load_weights


def add_flight(root: Path) -> str:
    """A clip under a name that the package has outlines for, with a mask that they fit."""
    name, folder = "davis2016/paragliding", root / "train/clips/davis2016/paragliding"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(2)
    for key in ("00000", "00022", "00044"):
        Image.fromarray(rng.integers(0, 255, (108, 192, 3), np.uint8)).save(folder / f"{key}.jpg")
        mask = np.zeros((108, 192), np.uint8)
        mask[40:100, 60:180] = 1
        write_indexed_png(folder / f"{key}.png", mask)
    return name


@pytest.fixture
def options(data_root: Path, tmp_path: Path, small_network: RVOS) -> TrainOptions:
    add_flight(data_root)
    stage = Stage(until=1.0, teacher=0.3, real=1.0, frames=2, size=(64, 96))
    plan = Recipe(model=small_network.config, stages=(stage,), steps=2, batch=2, warmup=2, divided=1.5)
    return small_options(data_root, tmp_path, plan)


def test_a_run_takes_clips_apart_once_and_learns_from_them(options: TrainOptions, tmp_path: Path):
    worked: list[str] = []
    whole = train(options, on_clip=worked.append)
    assert whole.finished and worked == ["davis2016/paragliding"]
    assert len(list((options.output / "parts/davis2016/paragliding").iterdir())) == 3
    clips = clip_dataset(options, options.recipe.stages[0])
    assert isinstance(clips, ClipDataset)
    assert "davis2016/paragliding, divided" in [clip.name for clip in clips._maker.library.sequences]

    stopped = replace(options, output=tmp_path / "stopped", minutes=1e-9)
    assert train(stopped, on_clip=worked.append).step == 0
    result = train(replace(stopped, minutes=0), on_clip=worked.append)
    assert len(worked) == 2
    one, other = load_weights(whole.weights).tensors, load_weights(result.weights).tensors
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_cannot_take_clips_apart_leaves_no_folder(options: TrainOptions):
    with pytest.raises(UsageError, match="has to be trained"):
        train(replace(options, init=None))
    assert not options.output.exists()


def test_a_part_that_has_gone_is_made_again(options: TrainOptions):
    train(options)
    part = options.output / "parts/davis2016/paragliding/00022.png"
    part.unlink()
    (options.output / "checkpoint.pt").unlink()
    assert train(options).finished and part.exists()


def test_the_first_steps_of_a_run_do_not_depend_on_when_its_clips_were_taken_apart(
    options: TrainOptions, small_network: RVOS
):
    first = load_weights(train(options).weights).tensors
    again = replace(options, output=options.output.with_name("again"))
    (options.output / "parts").rename(options.output.with_name("kept"))
    again.output.mkdir()
    options.output.with_name("kept").rename(again.output / "parts")
    second = load_weights(train(again).weights).tensors
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_only_the_first_process_takes_clips_apart(options: TrainOptions, small_network: RVOS, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    divide_first(options, small_network, lambda name: pytest.fail(f"took apart {name}"))
    assert not options.output.exists()
    monkeypatch.setenv("RANK", "0")
    divide_first(options, small_network, lambda name: None)
    assert (options.output / "parts/davis2016/paragliding").is_dir()


SCRIPT = """
import os, pickle, sys, time
from pathlib import Path
from rvos_cli.training import batches, loop

if __name__ == "__main__":
    folder, rank, look = Path(sys.argv[1]), os.environ["RANK"], batches.clip_dataset

    def note(name):
        (folder / f"divides-{rank}").write_text(name)
        time.sleep(2)  # so that one who does not wait is early

    def opened(options, stage):
        clips = look(options, stage)
        names = [clip.name for clip in clips._maker.library.sequences if clip.divided]
        (folder / f"sees-{rank}").write_text(" ".join(names))
        return clips

    batches.clip_dataset = opened
    loop.train(pickle.loads((folder / "options").read_bytes()), on_clip=note)
"""


def test_the_other_processes_wait_for_the_divided_clips(options: TrainOptions, tmp_path: Path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "options").write_bytes(pickle.dumps(replace(options, recipe=replace(options.recipe, steps=1))))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(
        [*launch, str(tmp_path / "script.py"), str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    seen = [(tmp_path / f"sees-{rank}").read_text() for rank in (0, 1)]
    assert seen == ["davis2016/paragliding, divided"] * 2
    assert [path.name for path in tmp_path.glob("divides-*")] == ["divides-0"]


def test_a_recipe_that_divides_nothing_makes_no_folder(options: TrainOptions):
    train(replace(options, recipe=replace(options.recipe, divided=0.0, steps=1)))
    assert not (options.output / "parts").exists()


def test_a_network_that_has_learned_nothing_takes_nothing_apart(options: TrainOptions, small_network: RVOS):
    with pytest.raises(UsageError, match="has to be trained; add --init"):
        divide_first(replace(options, init=None), small_network, lambda name: None)


def test_a_stage_says_how_many_of_the_made_clips_are_photographs(options: TrainOptions):
    clips = made_clips(options, Stage(until=1.0, teacher=0.1, real=0.4, photographs=0.7))
    assert isinstance(clips, ClipDataset)
    assert clips.mix.photograph == pytest.approx(0.42) and clips.mix.composite == pytest.approx(0.12)
    assert clips.mix.empty == pytest.approx(0.06) and clips.mix.real == 0.4


def test_a_recipe_says_how_often_divided_clips_are_drawn(options: TrainOptions, small_network: RVOS):
    divide_first(options, small_network, lambda name: None)
    plan = replace(options.recipe, divided=2.5)
    clips = made_clips(replace(options, recipe=plan), plan.stages[0])
    assert isinstance(clips, ClipDataset) and clips._maker.library.divided_favour == 2.5


def test_the_preview_says_when_there_are_no_divided_clips_yet(
    options: TrainOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("rvos_cli.cli.train.PREVIEW_CLIPS", 2)
    words = ["train", "--recipe", "lite-parts", "--data", options.data, "-o", options.output]
    words += ["--preview", tmp_path / "sheet.png"]
    assert rvos([str(word) for word in words]) == 0
    assert "drawn without divided clips" in capsys.readouterr().err
    assert not options.output.exists()
    divide_first(options, build_model(load_weights(options.init)), lambda name: None)
    assert rvos([str(word) for word in words]) == 0
    assert "divided" not in capsys.readouterr().err
    assert (tmp_path / "sheet.png").exists()
