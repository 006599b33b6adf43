"""Functions that are replayed on a GPU; here what happens around the GPU, and where there is none."""

from __future__ import annotations

import gc
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

from rvos_cli import graphs
from rvos_cli.graphs import LARGEST_CACHE, RECORDED_AFTER, Replayed

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class Recording:
    """Stands in for a graph: remembers what was recorded."""

    made: list[Recording]

    def __init__(self, settings: dict[str, float]) -> None:
        self.settings = settings

    @classmethod
    def of(cls, function, tensors, settings, device, memory) -> Recording:
        recording = cls(settings)
        cls.made.append(recording)
        return recording

    def replay(self, tensors: list[Tensor]) -> tuple[str, dict[str, float]]:
        return "replayed", self.settings


@pytest.fixture
def recorded(monkeypatch) -> list[Recording]:
    Recording.made = []
    monkeypatch.setattr(graphs, "_Recording", Recording)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    return Recording.made


def on_a_gpu() -> Replayed:
    """Return a function on a GPU that there need not be: what it is given stays where it is."""
    return Replayed(lambda tensors, **settings: ("called", settings), GPU)


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
    replayed.close()
    assert not replayed._recorded
    with pytest.raises(RuntimeError, match="closed"):
        replayed([Somewhere(99)])


def test_what_cannot_be_recorded_is_called_and_not_tried_again(recorded, monkeypatch):
    tries = []

    def refuse(*_: object) -> None:
        tries.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(Recording, "of", refuse)
    replayed = on_a_gpu()
    answers = [replayed([Somewhere(2)])[0] for _ in range(RECORDED_AFTER + 3)]
    assert answers == ["called"] * (RECORDED_AFTER + 3) and tries == [1]


@pytest.fixture
def noted(monkeypatch) -> list[str]:
    """What is done around a recording, on a GPU that there need not be."""
    notes: list[str] = []

    class Graph:
        def capture_begin(self, pool: object, capture_error_mode: str) -> None:
            notes.append(f"begin {capture_error_mode}")

        def capture_end(self) -> None:
            notes.append("end")

    class Queue:
        def wait_stream(self, other: object) -> None:
            notes.append("wait")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Queue())
    monkeypatch.setattr(torch.cuda, "stream", lambda queue: nullcontext())
    monkeypatch.setattr(graphs, "_recorder", lambda device: Queue())
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: notes.append("clear"), raising=False)
    return notes


def test_a_recording_is_guarded(noted):
    def function(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        noted.append("garbage" if gc.isenabled() else "no garbage")
        return (tensors[0] + 1,)

    assert gc.isenabled()
    graphs._Recording.of(function, [torch.zeros(2)], {}, CPU, None)
    assert noted == ["wait", "clear", "begin thread_local", "no garbage", "end", "clear", "wait"]
    assert gc.isenabled() and not graphs._RECORDING.locked()


def test_a_recording_that_fails_leaves_nothing_behind(noted):
    def function(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        graphs._Recording.of(function, [torch.zeros(2)], {}, CPU, None)
    assert noted[-2:] == ["end", "clear"]
    assert gc.isenabled() and not graphs._RECORDING.locked()
