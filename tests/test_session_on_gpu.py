"""A session as it is on a GPU, computed by a processor, against one on a processor.

In place of graphs stands what is stricter than they are: whatever a function answered is gone when it is called again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from boxes import GREEN, RED, matching_network, picture, square
from numpy.typing import NDArray
from small_demo import SMALL, Picture, clip, first_mask, labels_of, lite
from torch import Tensor

from rvos_cli import ahead, newcomers, sight
from rvos_cli.ahead import AheadOnGPU
from rvos_cli.graphs import Replayed
from rvos_cli.model import RVOS, graphed
from rvos_cli.model.graphed import GraphedRVOS, for_gpu
from rvos_cli.preprocess import network_input
from rvos_cli.session import AT_ONCE, Session


class Forgetful(Replayed):
    """Overwrites its last answers with each call, once it has read its arguments."""

    last: Sequence[Tensor] = ()

    def __call__(self, tensors, **settings):
        answers = super().__call__([None if x is None else x.clone() for x in tensors], **settings)
        for tensor in self.last:
            tensor.fill_(float("nan") if tensor.is_floating_point() else 77)
        self.last = [x.clone() for x in answers]
        return tuple(self.last)


def fetched(look: sight.LookOnGPU, packed: Tensor) -> NDArray[np.uint8]:
    there = packed.clone()
    look._meanwhile()
    return there.numpy()


Opened = Callable[..., Session]


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Return a function that opens such a session."""
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: MagicMock())
    monkeypatch.setattr(torch.cuda, "stream", lambda queue: nullcontext())
    monkeypatch.setattr(ahead, "queue", lambda device: MagicMock())
    monkeypatch.setattr(sight.LookOnGPU, "_fetched", fetched)
    for module in (graphed, sight):
        monkeypatch.setattr(module, "Replayed", Forgetful)
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # or frames would not be told before their turn

    def opened(model: RVOS, **options: object) -> Session:
        graphs = GraphedRVOS(for_gpu(deepcopy(model), torch.float32), torch.float32, network_input)
        session = Session(model, faster=graphs, **options)
        session._encode = AheadOnGPU(session._encoded_at_once, session.device)
        session._tracker = session._new_tracker()
        return session

    yield opened
    torch.set_num_threads(before)


def another(frames: Sequence[Picture]) -> list[Picture]:
    """Return a scene that is not that of *frames*."""
    return [np.ascontiguousarray(255 - frame[:, ::-1, [1, 2, 0]]) for frame in frames]


def require_alike(some: Sequence[Picture], others: Sequence[Picture]) -> None:
    """Compare two videos; kernels that are put together in another way round in another."""
    assert len(some) == len(others)
    for place, (one, other) in enumerate(zip(some, others, strict=True)):
        assert np.mean(one == other) > 0.999, f"frame {place}: {np.mean(one == other):.4f}"


@pytest.mark.parametrize("count", [16, 18])
def test_frames_are_encoded_at_once_and_the_masks_are_the_same(on_a_gpu: Opened, monkeypatch, count: int):
    encoded: list[int] = []
    encode = GraphedRVOS.encode_pictures

    def counted(self: GraphedRVOS, pictures: Sequence[Tensor], size: tuple[int, int]):
        encoded.append(len(pictures))
        return encode(self, pictures, size)

    monkeypatch.setattr(GraphedRVOS, "encode_pictures", counted)
    frames = [picture((32, 16 + 3 * k, RED), (40, 112 - 2 * k, GREEN)) for k in range(count)]
    mask, network = square(32, 16, 1) + square(40, 112, 2), matching_network()
    there = labels_of(on_a_gpu(network, first_mask=mask), frames)
    require_alike(there, labels_of(Session(network, first_mask=mask), frames))
    assert encoded == [AT_ONCE] * 3 + [count - 16] * (count > 16)


def test_between_black_bars_frames_are_encoded_at_once_too(on_a_gpu: Opened):
    bars = ((24, 24), (0, 0))
    frames = [np.pad(picture((32, 16 + 3 * k, RED)), (*bars, (0, 0))) for k in range(12)]
    frames += [np.pad(frame[24:-24], (*bars, (0, 0)), mode="edge") for frame in frames[8:]]
    mask, network = np.pad(square(32, 16, 1), bars), matching_network()
    there = labels_of(on_a_gpu(network, first_mask=mask), frames)
    require_alike(there, labels_of(Session(network, first_mask=mask), frames))
    assert [labels[:24].any() for labels in there[:12]] == [False] * 12


def test_where_memory_is_short_frames_are_encoded_one_by_one(on_a_gpu: Opened, monkeypatch):
    asked: list[int] = []
    encode = GraphedRVOS.encode_pictures

    def short(self: GraphedRVOS, pictures: Sequence[Tensor], size: tuple[int, int]):
        asked.append(len(pictures))
        if len(pictures) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return encode(self, pictures, size)

    monkeypatch.setattr(GraphedRVOS, "encode_pictures", short)
    frames = [picture((32, 16 + 3 * k, RED), (32, 120, GREEN)) for k in range(9)]
    network, mask = matching_network(), square(32, 16, 1) + square(32, 120, 2)  # too far apart for a closer look
    there = labels_of(on_a_gpu(network, first_mask=mask), frames)
    require_alike(there, labels_of(Session(network, first_mask=mask), frames))
    assert asked == [AT_ONCE, 1, 1, 1, 1, 1]


def test_a_shot_that_goes_on_has_what_it_ended_with(on_a_gpu: Opened):
    """Although the shot between has had the same graphs."""
    film = clip()[:14] + another(clip()[:14]) + clip()[14:]
    there = labels_of(on_a_gpu(lite(), options=SMALL), film)
    assert set(np.unique(there[13])) == set(np.unique(there[28])) > {0}
    require_alike(there, labels_of(Session(lite(), options=SMALL), film))


@pytest.mark.parametrize("tail", [1, 2, 3])
def test_a_shot_of_few_frames_is_looked_at_as_closely(on_a_gpu: Opened, tail: int):
    film = clip()[:12] + another(clip()[:tail])
    require_alike(labels_of(on_a_gpu(lite(), options=SMALL), film), labels_of(Session(lite(), options=SMALL), film))


def test_what_is_followed_through_cuts_is_as_on_a_processor(on_a_gpu: Opened):
    mirrored = [np.ascontiguousarray(frame[:, ::-1]) for frame in clip()[20:]]
    film = clip()[:14] + another(clip()[:8]) + clip()[14:20] + mirrored
    there = labels_of(on_a_gpu(lite(), options=SMALL, first_mask=first_mask()), film)
    assert set(np.unique(there[22])) == set(np.unique(first_mask())) and there[-1].any()
    require_alike(there, labels_of(Session(lite(), options=SMALL, first_mask=first_mask()), film))


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_mask_of_those_who_are_followed_is_believed_as_on_a_processor(on_a_gpu: Opened, exchanged: bool):
    given = np.array([0, 2, 1, 3], np.uint8)[first_mask()] if exchanged else first_mask()

    def followed(session: Session) -> list[Picture]:
        labels = [session.step(frame, {0: first_mask(), 9: given}.get(n)) for n, frame in enumerate(clip()[:14])]
        session.close()
        return labels

    plain = followed(Session(lite(), options=SMALL, discover=False))
    require_alike(followed(on_a_gpu(lite(), options=SMALL, discover=False)), plain)


def test_who_comes_in_later_is_found_as_on_a_processor(on_a_gpu: Opened, monkeypatch):
    """Here all that is known comes in again, and wins."""
    monkeypatch.setattr(newcomers.Motion, "of", lambda *_: 0.1)
    monkeypatch.setattr(newcomers.Newcomers, "rules", replace(newcomers.Newcomers.rules, overlap=1.0))
    monkeypatch.setattr(newcomers, "NOWHERE", 20.0)
    there = labels_of(on_a_gpu(lite(), options=SMALL), clip()[:18])
    assert there[-1].max() > there[0].max() > 0
    require_alike(there, labels_of(Session(lite(), options=SMALL), clip()[:18]))
