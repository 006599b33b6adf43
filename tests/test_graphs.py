"""Functions that are replayed on a GPU; here what happens around the GPU, and where there is none."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

from rvos_cli import graphs
from rvos_cli.graphs import LARGEST_CACHE, RECORDED_AFTER, Replayed

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class Recording:
    """Stands in for a graph: remembers what was recorded, and whether garbage might have been collected."""

    made: list[Recording]

    def __init__(self, settings: dict[str, float]) -> None:
        self.settings = settings

    @classmethod
    def of(cls, function, tensors, settings, device) -> Recording:
        recording = cls(settings)
        cls.made.append(recording)
        return recording

    def replay(self, tensors: list[Tensor]) -> tuple[str, dict[str, float]]:
        return "replayed", self.settings


@pytest.fixture
def recorded(monkeypatch) -> list[Recording]:
    Recording.made = []
    monkeypatch.setattr(graphs, "_Recording", Recording)
    return Recording.made


def on_a_gpu() -> Replayed:
    """Return a function on a GPU that there need not be: what it is given stays where it is."""
    replayed = Replayed(lambda tensors, **settings: ("called", settings), GPU)
    return replayed


class Somewhere:
    """A tensor's shape and type."""

    def __init__(self, *shape: int, dtype: torch.dtype = torch.float32) -> None:
        self.shape, self.dtype = shape, dtype

    def to(self, device: torch.device) -> Somewhere:
        return self


def test_a_processor_calls_the_function_each_time():
    calls = []

    def double(tensors: list[Tensor | None], plus: int) -> tuple[Tensor, ...]:
        calls.append(plus)
        assert tensors[0] is not None and tensors[1] is None
        return (2 * tensors[0] + plus,)

    replayed = Replayed(double, CPU)
    answers = [replayed([torch.tensor(float(n)), None], plus=1)[0].item() for n in range(5)]
    assert answers == [1, 3, 5, 7, 9] and calls == [1] * 5


def test_what_comes_again_is_recorded_and_replayed(recorded):
    replayed = on_a_gpu()
    answers = [replayed([Somewhere(2, 3), None], factor=2.0)[0] for _ in range(RECORDED_AFTER + 2)]
    assert answers == ["called"] * RECORDED_AFTER + ["replayed"] * 2
    assert [recording.settings for recording in recorded] == [{"factor": 2.0}]


@pytest.mark.parametrize(
    "other", [Somewhere(3, 2), Somewhere(2, 3, dtype=torch.float16)], ids=["another shape", "another type"]
)
def test_each_kind_of_arguments_has_its_own(recorded, other):
    replayed = on_a_gpu()
    for _ in range(RECORDED_AFTER + 1):
        replayed([Somewhere(2, 3)])
        replayed([other])
    assert len(recorded) == 2


def test_the_oldest_are_forgotten(recorded):
    replayed = on_a_gpu()
    for length in range(LARGEST_CACHE + 2):
        for _ in range(RECORDED_AFTER + 1):
            replayed([Somewhere(length)])
    assert len(recorded) == LARGEST_CACHE + 2 and len(replayed._recorded) == LARGEST_CACHE
    replayed.forget()
    assert not replayed._recorded


def test_what_cannot_be_recorded_is_called_and_not_tried_again(recorded, monkeypatch):
    tries = []

    def refuse(*_: object) -> None:
        tries.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(Recording, "of", refuse)
    replayed = on_a_gpu()
    answers = [replayed([Somewhere(2)])[0] for _ in range(RECORDED_AFTER + 3)]
    assert answers == ["called"] * (RECORDED_AFTER + 3) and tries == [1]


def test_no_garbage_is_collected_in_the_meantime():
    assert gc.isenabled()
    with graphs._without_garbage_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(RuntimeError), graphs._without_garbage_collection():
        raise RuntimeError
    assert gc.isenabled()
