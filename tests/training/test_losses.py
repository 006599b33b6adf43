"""The losses on masks whose answer is known."""

import pytest
import torch

from rvos_cli.training.losses import assignment_cost, cross_entropy, cue_loss, mask_loss, soft_iou_loss


def boxes() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    truth, other = torch.zeros(8, 8), torch.zeros(8, 8)
    truth[:4], other[2:6] = 1, 1
    return truth, other, torch.ones(8, 8)


def test_soft_iou_of_hard_masks_is_one_minus_their_overlap():
    truth, other, valid = boxes()
    assert soft_iou_loss(truth, truth, valid) == pytest.approx(0, abs=1e-6)
    assert soft_iou_loss(other, truth, valid) == pytest.approx(1 - 2 / 6, abs=1e-6)
    assert soft_iou_loss(1 - truth, truth, valid) == pytest.approx(1, abs=1e-6)


def test_unknown_pixels_count_for_nothing():
    truth, other, valid = boxes()
    valid[4:6] = 0  # where the other mask is wrong outside
    assert soft_iou_loss(other, truth, valid) == pytest.approx(0.5, abs=1e-6)
    logits = torch.full((8, 8), 3.0)
    known = cross_entropy(logits, torch.ones(8, 8), torch.ones(8, 8))
    half_unknown = cross_entropy(logits, torch.ones(8, 8), valid)
    assert known == pytest.approx(float(half_unknown), abs=1e-6)


def test_an_empty_truth_wants_an_empty_mask():
    empty, valid = torch.zeros(1, 8, 8), torch.ones(1, 8, 8)
    silent, loud = torch.full((1, 8, 8), -6.0), torch.full((1, 8, 8), 6.0)
    assert mask_loss(silent, empty, valid) < 0.01
    assert mask_loss(loud, empty, valid) > 5


def test_cue_loss_is_least_for_the_true_mask():
    truth = torch.zeros(1, 1, 64, 64)
    truth[..., 16:48, 16:48] = 1
    cue = torch.nn.functional.interpolate(truth, size=(8, 8), mode="area")[:, None].expand(-1, 2, -1, -1, -1)
    valid = torch.ones(1, 1, 64, 64)
    assert cue_loss(cue, truth, valid) < 0.01
    assert cue_loss(1 - cue, truth, valid) > 1


def test_where_all_is_known_the_cue_loss_is_the_mean_cross_entropy():
    torch.manual_seed(0)
    truth, cue = torch.rand(2, 3, 48, 64), torch.rand(2, 2, 3, 6, 8).clamp(0.01, 0.99)
    small = torch.nn.functional.interpolate(truth, size=(6, 8), mode="area")[:, None].expand_as(cue)
    plain = torch.nn.functional.binary_cross_entropy(cue, small, reduction="none").mean(dim=(1, 3, 4))
    assert torch.allclose(cue_loss(cue, truth, torch.ones(2, 1, 48, 64)), plain, atol=1e-6)


def test_unknown_pixels_teach_the_cue_nothing():
    truth, valid = torch.zeros(1, 1, 64, 64), torch.ones(1, 1, 64, 64)
    truth[..., :20] = 1
    valid[..., 20:40] = 0  # columns 0 and 1 show the object, 2 as much of it as is known, 3 and 4 nothing
    cue = torch.full((1, 2, 1, 8, 8), 0.5, requires_grad=True)
    cue_loss(cue, truth, valid).sum().backward()
    gradient = cue.grad[0, 0, 0, 0]
    assert (gradient[:3] < 0).all() and (gradient[3:5] == 0).all() and (gradient[5:] > 0).all()
    assert gradient[2] == pytest.approx(float(gradient[0]) / 2)
    assert cue_loss(cue, truth, valid * 0) == 0


def test_assignment_cost_is_low_where_slot_and_object_agree():
    truth, other, valid = boxes()
    objects = torch.stack([truth, other])
    cost = assignment_cost((objects.flip(0) - 0.5) * 12, objects, valid)
    assert cost.shape == (2, 2)
    assert cost[0, 1] < cost[0, 0] and cost[1, 0] < cost[1, 1]
