"""The pieces of the measurement: the clock of the stages, made-up masks, what is put back afterwards."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rvos_cli import session, sight, trackers
from rvos_cli.benchmarking import STAGES, Job, draw_chart, measure_network, measure_stages, some_objects
from rvos_cli.benchmarking.runs import WARM_UP
from rvos_cli.benchmarking.stages import StageClock
from rvos_cli.model import RVOS
from rvos_cli.segmenter import Segmenter


class Ticks:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)


def test_an_enclosed_stage_does_not_count_twice(monkeypatch):
    ticks = Ticks(monkeypatch)
    clock = StageClock(torch.device("cpu"))
    with clock.within("decode slots"):
        ticks.now += 1
        with clock.within("matching"):
            ticks.now += 10
        ticks.now += 100
    ticks.now += 1000
    with clock.within("matching"):
        ticks.now += 20
    assert clock.seconds["decode slots"] == 101
    assert clock.seconds["matching"] == 30
    assert sum(clock.seconds.values()) == 131


def test_a_failing_stage_is_closed(monkeypatch):
    ticks = Ticks(monkeypatch)
    clock = StageClock(torch.device("cpu"))
    with clock.within("decode"):
        with pytest.raises(ValueError), clock.within("write"):
            ticks.now += 5
            raise ValueError
        ticks.now += 1
    assert (clock.seconds["write"], clock.seconds["decode"]) == (5, 1)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 254])
def test_made_up_masks_hold_every_object_once(count):
    labels = some_objects((480, 854), count)
    assert labels.shape == (480, 854)
    assert labels.dtype == np.uint8
    assert np.unique(labels).tolist() == list(range(count + 1))
    areas = np.bincount(labels.ravel())[1:]
    assert areas.max() < 1.5 * areas.min()


def test_the_stages_of_a_run_are_watched_and_put_back(tiny_model: Segmenter, clip: Path):
    before = (session.frame_tensor, sight.label_map, trackers.mask_tensor, RVOS.encode, RVOS.decode)
    seconds = measure_stages(tiny_model, Job(input=clip, mask=some_objects((96, 128), 2), frames=2, size=64))
    assert tuple(seconds) == STAGES
    assert all(value > 0 for value in seconds.values())
    assert before == (session.frame_tensor, sight.label_map, trackers.mask_tensor, RVOS.encode, RVOS.decode)


def test_frames_that_come_in_bursts_count_in_full(tiny_model: Segmenter, clip: Path, monkeypatch):
    """A stream that computes four frames at once and then hands them out must not look four times as fast."""
    ticks = Ticks(monkeypatch)
    frames = 20
    labels = np.zeros((8, 8), np.uint8)

    def bursts(images, **_):
        for index in range(len(images)):
            ticks.now += 4 if index % 4 == 0 else 0
            yield type("Result", (), {"labels": labels})

    monkeypatch.setattr(tiny_model, "stream", bursts)
    result = measure_network(tiny_model, Job(input=clip, frames=frames))
    assert result["frames"] == frames
    assert result["seconds_per_frame"] == pytest.approx(1)
    assert result["slowest"] == 4
    assert WARM_UP % 4  # no burst is left out


def test_the_network_gets_as_many_frames_as_the_input_has_and_is_asked_for_few(tiny_model, tmp_path, monkeypatch):
    """What pays for the whole video alone, such as compiling, must be in both figures."""
    for number in range(20):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{number:02d}.png")
    asked = []

    def stream(images, **_):
        for _ in images:
            asked.append(len(images))
            yield type("Result", (), {"labels": np.zeros((8, 8), np.uint8)})

    monkeypatch.setattr(tiny_model, "stream", stream)
    assert measure_network(tiny_model, Job(input=tmp_path, frames=1))["frames"] == 1
    assert asked[0] >= 20 > len(asked) == WARM_UP + 1


def test_a_long_title_with_dollars_is_whole(tmp_path: Path):
    draw_chart(tmp_path / "stages.png", {"decode": 0.01, "write": 0.02}, f"$my_{{weights, {'very ' * 30}long")
    with Image.open(tmp_path / "stages.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    title = pixels[:40]
    assert title.min() < 100 and title[:, :20].min() == title[:, -20:].min() == 255
