"""What only a GPU can show: graphs replay what was recorded, and videos have the masks that they have without."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from rvos_cli.cli.demo import demo_files
from rvos_cli.graphs import RECORDED_AFTER, Replayed
from rvos_cli.masks import read_labels
from rvos_cli.segmenter import Segmenter, load_model
from rvos_cli.sources import open_source

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
FRAMES = 40
ENOUGH = RECORDED_AFTER + 3  # calls, the last of them replayed


@pytest.fixture(scope="module")
def gpu() -> torch.device:
    return torch.device("cuda", torch.cuda.current_device())


@pytest.fixture(scope="module")
def clip() -> tuple[list[np.ndarray], np.ndarray]:
    """Frames of the demo, and its first mask."""
    video, mask = demo_files()
    with open_source(video) as source:
        return [frame.image for frame in itertools.islice(source, FRAMES)], read_labels(mask)


@pytest.fixture(scope="module")
def plain() -> Segmenter:
    return load_model("lite", device="cuda", compiled=False)


@pytest.fixture(scope="module")
def graphed() -> Segmenter:
    return load_model("lite", device="cuda", compiled=True)


def likeness(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    """Return the least IoU of an object over a video."""
    assert len(some) == len(others)
    overlaps = []
    for one, other in zip(some, others, strict=True):
        assert set(np.unique(one)) == set(np.unique(other))
        for identity in set(np.unique(one)) - {0}:
            both = (one == identity) & (other == identity)
            overlaps.append(both.sum() / ((one == identity) | (other == identity)).sum())
    return float(min(overlaps))


def recordings(replayed: Replayed) -> list[object]:
    return list(replayed._recorded.values())


def test_a_recorded_function_answers_as_before(gpu):
    replayed = Replayed(lambda tensors, factor: (tensors[0] * factor + tensors[1].float().mean(),), gpu)
    for number in range(ENOUGH):
        pair = torch.full((3, 4), float(number), device=gpu), torch.arange(number, number + 5, device=gpu)
        (answer,) = replayed(pair, factor=2.0)
        torch.testing.assert_close(answer, torch.full((3, 4), 3.0 * number + 2, device=gpu))
    assert len(recordings(replayed)) == 1 and recordings(replayed)[0] is not None


def test_shapes_and_settings_have_recordings_of_their_own(gpu):
    replayed = Replayed(lambda tensors, factor: (tensors[0] * factor,), gpu)
    for _, length, factor in itertools.product(range(ENOUGH), (2, 3), (1.0, 5.0)):
        (answer,) = replayed([torch.ones(length, device=gpu)], factor=factor)
        assert answer.tolist() == [factor] * length
    assert len(recordings(replayed)) == 4


WAITING = f"""
import torch
from rvos_cli.graphs import Replayed
replayed = Replayed(lambda tensors: (tensors[0] * float(tensors[0].sum()),), torch.device("cuda"))
for number in range({ENOUGH}):
    (answer,) = replayed([torch.full((2,), float(number), device="cuda")])
    assert answer.tolist() == [2.0 * number**2] * 2
assert list(replayed._recorded.values()) == [None]
"""


def test_what_waits_for_the_device_is_called_as_it_is():
    """In a process of its own: torch does not recover from a recording that fails."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", WAITING], check=True, timeout=120)


def test_tensors_of_the_processor_are_sent(gpu):
    replayed = Replayed(lambda tensors: (tensors[0] + 1,), gpu)
    for number in range(ENOUGH):
        (answer,) = replayed([torch.full((2,), number, dtype=torch.uint8).pin_memory()])
        assert answer.is_cuda and answer.tolist() == [number + 1] * 2


def test_garbage_is_not_collected_while_a_graph_is_recorded(gpu):
    """To destroy an old graph meanwhile would end the program."""

    def littering(tensors: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        if torch.cuda.is_current_stream_capturing() and gc.isenabled():
            gc.collect()  # as Python may at any allocation
        return (tensors[0] + 1,)

    for _ in range(3):
        forgotten = Replayed(littering, gpu)
        forgotten.itself = forgotten  # type: ignore[attr-defined]  # so that it has to be collected
        for number in range(ENOUGH):
            assert forgotten([torch.full((2,), float(number), device=gpu)])[0].tolist() == [number + 1] * 2
        assert recordings(forgotten)[0] is not None


def test_a_video_that_ended_holds_no_memory(clip, graphed):
    frames, mask = clip

    def held() -> int:
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    list(graphed.stream(frames, first_mask=mask))
    before = held()
    gc.disable()
    try:
        for _ in range(3):
            list(graphed.stream(frames, first_mask=mask))
        assert held() <= before + 64 * 2**20
    finally:
        gc.enable()


def test_followed_objects_have_the_masks_that_they_have_without_graphs(clip, plain, graphed):
    frames, mask = clip
    with_graphs, without = (
        [result.labels for result in model.stream(frames, first_mask=mask)] for model in (graphed, plain)
    )
    assert likeness(with_graphs, without) > 0.98


def test_found_objects_have_the_masks_that_they_have_without_graphs(clip, plain, graphed):
    frames, _ = clip
    with_graphs, without = ([result.labels for result in model.stream(frames)] for model in (graphed, plain))
    assert with_graphs[-1].max() > 1
    assert likeness(with_graphs, without) > 0.97


def test_a_mask_may_come_when_graphs_are_recorded(clip, plain, graphed):
    frames, mask = clip
    one, late = np.where(mask == 1, mask, 0), np.where(mask > 1, mask, 0)
    with_graphs, without = (
        [result.labels for result in model.stream(frames, first_mask=one, masks={20: late})]
        for model in (graphed, plain)
    )
    assert set(np.unique(with_graphs[19])) == {0, 1} and set(np.unique(with_graphs[-1])) == {0, 1, 2, 3}
    assert likeness(with_graphs, without) > 0.97


def test_videos_of_one_model_do_not_disturb_each_other(clip, graphed):
    frames, mask = clip
    both = frames, frames[:1] + frames[:0:-1]
    alone = [[result.labels for result in graphed.stream(some, first_mask=mask)] for some in both]
    turns = zip(*(graphed.stream(some, first_mask=mask) for some in both), strict=True)
    together = zip(*((one.labels, other.labels) for one, other in turns), strict=True)
    for mine, theirs in zip(together, alone, strict=True):
        assert likeness(list(mine), theirs) > 0.99


def test_videos_in_two_threads_do_not_disturb_each_other(clip, graphed):
    frames, mask = clip

    def followed(_: int) -> list[np.ndarray]:
        return [result.labels for result in graphed.stream(frames, first_mask=mask)]

    alone = followed(0)
    with ThreadPoolExecutor(max_workers=2) as pool:
        for labels in pool.map(followed, range(6)):
            assert likeness(labels, alone) > 0.99


def test_float32_is_float32_with_graphs(clip):
    frames, mask = clip
    with_graphs, without = (
        [r.labels for r in load_model("lite", device="cuda", half=False, compiled=on).stream(frames, first_mask=mask)]
        for on in (True, False)
    )
    assert likeness(with_graphs, without) > 0.98


def test_a_gpu_and_a_processor_agree(clip, graphed):
    frames, mask = clip
    there = [result.labels for result in graphed.stream(frames, first_mask=mask)]
    processor = load_model("lite", device="cpu", half=False, compiled=False)
    here = [result.labels for result in processor.stream(frames, first_mask=mask)]
    assert likeness(there, here) > 0.95


def test_boxes_are_outlined_as_on_a_processor(clip, plain):
    frames, mask = clip
    places = {one: np.argwhere(mask == one) for one in np.unique(mask)[1:].tolist()}
    boxes = {one: (*at.min(axis=0)[::-1], *(at.max(axis=0)[::-1] + 1)) for one, at in places.items()}
    assert (
        likeness([plain.outline(frames[0], boxes)], [load_model("lite", device="cpu").outline(frames[0], boxes)]) > 0.97
    )
