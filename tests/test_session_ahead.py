"""A video whose frames are known before their turn: each is encoded and begun beside the one before."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from boxes import GREEN, RED, matching_network, picture, square

from rvos_cli.ahead import Ahead
from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.session import Session


@pytest.fixture(scope="module")
def lite() -> RVOS:
    return matching_network()


@dataclass
class Pictured:
    image: np.ndarray


def followed(
    model: RVOS, frames: list[np.ndarray], mask: np.ndarray, *, ahead: bool, dtype: torch.dtype = torch.float32
) -> tuple[Session, list[np.ndarray]]:
    session = Session(model, first_mask=mask, dtype=dtype)
    coming = map(Pictured, frames)
    labels = [session.step(frame.image) for frame in (session.looking_ahead(coming) if ahead else coming)]
    session.close()
    return session, labels


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def far_ahead(two_threads, monkeypatch):
    """Each frame is begun before the step of the one before."""
    answer = Ahead.__call__

    def after_all_of_it(self, *arguments):
        self._thread.submit(int).result()
        return answer(self, *arguments)

    monkeypatch.setattr(Ahead, "__call__", after_all_of_it)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frames_that_are_encoded_ahead_have_the_same_masks(lite, two_threads, dtype):
    frames = [picture((32, 16 + 3 * k, RED), (40, 112 - 2 * k, GREEN)) for k in range(16)]
    mask = square(32, 16, 1) + square(40, 112, 2)
    session, ahead = followed(lite, frames, mask, ahead=True, dtype=dtype)
    _, one_by_one = followed(lite, frames, mask, ahead=False, dtype=dtype)
    assert session._announced
    assert all(np.mean(one == other) > 0.999 for one, other in zip(ahead, one_by_one, strict=True))
    assert torch.get_num_threads() == 2


def test_what_was_begun_ahead_is_used_where_the_kept_frames_stay(lite, far_ahead, monkeypatch):
    used: list[bool] = []
    plain = RVOS.decode

    def noting(self, *seen, begun=None, **rest):
        used.append(begun is not None)
        return plain(self, *seen, begun=begun, **rest)

    monkeypatch.setattr(RVOS, "decode", noting)
    followed(lite, [picture((32, 16, RED)) for _ in range(12)], square(32, 16, 1), ahead=True)
    # At first nothing is kept; and begun so early, frame 7 does not know that frame 5 is remembered.
    assert used == [False, False, True, True, True, True, True, False, True, True, True, True]


def test_what_was_begun_ahead_is_used_where_objects_are_looked_for_too(lite, far_ahead, monkeypatch):
    decoded: list[tuple[int, bool]] = []  # by how many slots, and whether it was begun
    plain = RVOS.decode

    def with_one_everywhere(self, features, state, *, slots, masks=None, begun=None, **rest):
        if rest.get("kept") is not None:
            decoded.append((slots, begun is not None))
        out = plain(self, features, state, slots=slots, masks=masks, begun=begun, **rest)
        logits = torch.full_like(out.logits, -6.0)
        logits[:, 0] = 6.0
        return replace(out, logits=logits)

    monkeypatch.setattr(RVOS, "decode", with_one_everywhere)
    session = Session(lite)
    for frame in session.looking_ahead(map(Pictured, [picture((32, 16, RED)) for _ in range(12)])):
        session.step(frame.image)
    session.close()
    assert session.objects == (1,)
    # Once it was begun before it was known that a frame is remembered, as above.
    assert decoded == [(1, True)] * 6 + [(1, False)] + [(1, True)] * 4


def test_what_was_begun_for_fewer_objects_is_not_used(lite, far_ahead):
    session = Session(lite, first_mask=square(32, 16, 1))
    coming = map(Pictured, [picture((32, 16, RED), (32, 112, GREEN)) for _ in range(8)])
    for index, frame in enumerate(session.looking_ahead(coming)):
        session.step(frame.image, square(32, 112, 5) if index == 4 else None)
    session.close()
    assert session.objects == (1, 5)


def test_a_published_network_has_all_threads_for_one_frame_at_a_time(two_threads):
    torch.manual_seed(0)
    config = ModelConfig(trunk="resnet34", hidden_size=16, key_dim=0, slots=3, mask_input=True, size=64)
    session, labels = followed(RVOS(config).eval(), [picture((32, 16, RED))] * 3, square(32, 16, 3), ahead=True)
    assert not session._announced and len(labels) == 3
