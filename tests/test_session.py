"""One video's recurrence: ids, new and lost objects, later masks, bounded memory."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from boxes import GREEN, RED, matching_network, picture, square

from rvos_cli.config import InferenceOptions, ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.preprocess import mask_tensor
from rvos_cli.session import Session


@pytest.fixture(scope="module")
def lite() -> RVOS:
    return matching_network()


def test_beside_a_gpu_one_thread_is_enough(lite):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Session(lite, device=torch.device("cuda"))._threads():
            assert torch.get_num_threads() == 1
        with Session(lite)._threads():
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_first_answer_is_the_given_mask_to_the_pixel(lite):
    mask = square(32, 20, 7)
    session = Session(lite, first_mask=mask)
    assert np.array_equal(session.step(picture((32, 20, RED))), mask)
    assert session.objects == (7,)


def test_what_the_network_sees_beyond_the_given_mask_is_not_added_to_it(lite):
    eager = deepcopy(lite)
    torch.nn.init.constant_(eager.decoder.conv_out.bias, 20.0)
    mask = square(32, 20, 7) + square(32, 120, 7)  # too far apart for a closer look
    session = Session(eager, first_mask=mask)
    assert np.array_equal(session.step(picture((32, 20, RED))), mask)
    assert (session.step(picture((32, 20, RED))) == 7).all()


def test_given_ids_are_kept_and_no_others_appear(lite):
    mask = square(32, 16, 9) + square(32, 112, 4)
    session = Session(lite, first_mask=mask)
    for shift in range(0, 12, 2):
        labels = session.step(picture((32, 16 + shift, RED), (32, 112 - shift, GREEN)))
        assert set(np.unique(labels)) <= {0, 4, 9}
    assert session.objects == (4, 9)


def test_a_mask_given_later_adds_its_objects(lite):
    session = Session(lite, first_mask=square(32, 16, 1))
    session.step(picture((32, 16, RED)))
    session.step(picture((32, 16, RED)))
    labels = session.step(picture((32, 16, RED), (32, 112, GREEN)), square(32, 112, 5))
    assert session.objects == (1, 5)
    assert (labels[32:64, 112:144] == 5).all()
    session.step(picture((32, 16, RED), (32, 112, GREEN)))
    assert session.objects == (1, 5)


def test_a_mask_that_corrects_an_object_says_all_of_it(lite):
    both, smaller = square(32, 16, 1) + square(32, 112, 2), np.zeros(square(0, 0, 1).shape, np.uint8)
    smaller[32:64, 16:24] = 1

    def third_frame(correction: np.ndarray | None) -> np.ndarray:
        session = Session(lite, first_mask=both)
        for mask in (None, None, correction):
            labels = session.step(picture((32, 16, RED), (32, 112, GREEN)), mask)
        return labels

    as_seen, corrected = third_frame(None), third_frame(smaller)
    assert (as_seen[smaller == 0] == 1).any()
    assert np.array_equal(corrected == 1, smaller == 1)
    assert np.array_equal(corrected == 2, as_seen == 2)  # of which nothing was said


def test_memory_stays_bounded(lite):
    session = Session(lite, first_mask=square(32, 16, 1))
    for _ in range(40):
        session.step(picture((32, 16, RED)))
    assert len(session._tracker.memory.later) == 2 + session._tracker.memory.rules.recent  # the first from near and far
    assert len(session._tracker.memory.last) == 1


def test_the_first_frame_and_the_newest_with_a_given_mask_are_trusted(lite):
    session = Session(lite, first_mask=square(32, 16, 1))
    for index in range(30):
        given = square(32, 112, 2) if index in (6, 12) else None
        session.step(picture((32, 16, RED)), given)
        if index == 0:
            first = session._tracker.memory.later
        if index == 12:
            corrected = session._tracker.memory.last
    kept, rules = session._tracker.memory.later, session._tracker.memory.rules
    assert len(kept) == 3 + rules.recent
    assert (kept.trusted, kept.favour, kept.sharpness) == (3, rules.favour, rules.sharpness)
    assert torch.equal(kept.frames(0, 2).keys, first.keys) and torch.equal(kept.frames(2, 3).keys, corrected.keys)
    assert (kept.masks[:, 1:, 0] == 0).all()  # the first frame does not show what came later


def test_same_frames_give_the_same_masks_whatever_ran_before(lite):
    frames = [picture((32, 16 + 4 * k, RED)) for k in range(4)]
    runs = []
    for _ in range(2):
        session = Session(lite, first_mask=square(32, 16, 1))
        runs.append(np.stack([session.step(frame) for frame in frames]))
    assert np.array_equal(*runs)


def test_published_one_shot_sees_the_given_mask_twice_then_its_own():
    torch.manual_seed(0)
    config = ModelConfig(trunk="resnet34", hidden_size=16, key_dim=0, slots=3, mask_input=True, size=64)
    model = RVOS(config).eval()
    mask = square(32, 16, 3)
    session = Session(model, first_mask=mask)
    session.step(picture((32, 16, RED)))
    given = session._tracker.masks
    assert given.unique().tolist() == [0.0, 1.0] or given.max() == 1
    session.step(picture((32, 16, RED)))
    assert not torch.equal(session._tracker.masks, given)
    assert session.objects == (3,)


def test_published_one_shot_sees_what_was_not_given_later_as_it_was_last():
    torch.manual_seed(0)
    config = ModelConfig(trunk="resnet34", hidden_size=16, key_dim=0, slots=3, mask_input=True, size=64)
    session = Session(RVOS(config).eval(), first_mask=square(32, 16, 3))
    for _ in range(3):
        session.step(picture((32, 16, RED)))
    before = session._tracker.masks
    session.step(picture((32, 20, RED)), square(32, 112, 5))
    after = session._tracker.masks
    assert not torch.equal(after[:, 0], before[:, 0])
    assert torch.equal(after[:, 1], mask_tensor(square(32, 112, 5), (5,), after.shape[-2:], after.device)[:, 0])


def test_published_one_shot_sees_nothing_of_who_is_gone_by_a_whole_mask():
    torch.manual_seed(0)
    config = ModelConfig(trunk="resnet34", hidden_size=16, key_dim=0, slots=3, mask_input=True, size=64)
    session, both = Session(RVOS(config).eval(), discover=False), square(32, 16, 3) + square(32, 112, 5)
    assert not session.step(picture((32, 16, RED)), np.zeros_like(both), whole=True).any()  # of nobody
    assert session.objects == ()
    session.step(picture((32, 16, RED)), both, whole=True)
    assert session.objects == (3, 5)
    labels = session.step(picture((32, 16, RED)), square(32, 16, 3), whole=True)
    assert np.array_equal(labels, square(32, 16, 3))
    assert session._tracker.masks[:, 0].any() and not session._tracker.masks[:, 1].any()
    assert not list(session.back([picture((32, 16, RED))]))  # it remembers no frame to go back by


def test_published_zero_shot_has_as_many_objects_as_slots():
    torch.manual_seed(0)
    config = ModelConfig(trunk="resnet34", hidden_size=16, key_dim=0, slots=3, mask_input=False, size=64)
    session = Session(RVOS(config).eval(), options=InferenceOptions(max_objects=10))
    assert session.step(picture()).max() <= 3
    assert session.objects == (1, 2, 3)
