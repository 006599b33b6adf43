"""One clip through a published network: which slot has which object, which masks it sees, and that training learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_published import RECIPES, SIZE, small

from rvos_cli.model import RVOS
from rvos_cli.training.losses import overlap_cost, soft_iou_loss
from rvos_cli.training.published_rollout import PublishedRollout, match
from rvos_cli.training.run_options import Recipe


def batch(frames: int = 3, objects: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    images, labels = torch.randn(1, frames, 3, *SIZE) * 0.1, torch.zeros(1, frames, *SIZE, dtype=torch.uint8)
    for t in range(frames):
        for k in range(objects):
            rows, columns = slice(12, 44), slice(4 + 46 * k + 2 * t, 36 + 46 * k + 2 * t)
            labels[0, t, rows, columns] = k + 1
            images[0, t, k, rows, columns] += 2
    return images, labels, torch.tensor([False])


def network(plan: Recipe) -> RVOS:
    torch.manual_seed(0)
    return RVOS(plan.model).train()


def test_the_cost_of_a_pair_is_its_soft_iou_loss():
    torch.manual_seed(0)
    guess, truth, valid = torch.rand(3, 6, 8), (torch.rand(2, 6, 8) > 0.5).float(), (torch.rand(1, 6, 8) > 0.2).float()
    cost = overlap_cost(guess, truth, valid)
    for s in range(3):
        for o in range(2):
            assert cost[s, o] == pytest.approx(float(soft_iou_loss(guess[s], truth[o], valid[0])), abs=1e-5)


def test_matching_gives_every_object_the_slot_that_shows_it():
    truth = torch.zeros(1, 3, 8, 8)
    truth[0, 0, :4], truth[0, 2, 4:] = 1, 1  # object 1 is not in the frame
    slots = torch.stack([torch.full((8, 8), 0.1), truth[0, 2] * 0.9, truth[0, 0] * 0.8, torch.zeros(8, 8)])[None]
    assert match(slots, truth, torch.ones(1, 1, 8, 8)).tolist() == [[-1, 2, 0, -1]]


class Recorder:
    """A network of one-shot configuration that shows given planes and remembers what masks it saw."""

    def __init__(self, plan: Recipe) -> None:
        self.config, self.seen = plan.model, []

    def step(self, frame, state, *, slots, masks=None):
        self.seen.append(masks.clone())
        logits = torch.full((1, slots, *SIZE), float(len(self.seen)))
        return type("Out", (), {"logits": logits, "state": None})()


@pytest.mark.parametrize("teacher", [0.0, 1.0])
def test_the_first_stage_sees_the_true_previous_masks_and_the_second_its_own(teacher: float):
    images, labels, complete = batch(frames=4)
    model = Recorder(small("published-one-shot"))
    PublishedRollout(slots=3).run(model, images, labels, complete, [torch.Generator()], teacher=teacher)
    truth = torch.stack([labels[:, t] == k for t in range(4) for k in (1, 2)]).view(4, 2, *SIZE).float()[:, None]
    assert torch.equal(model.seen[0], truth[0]) and torch.equal(model.seen[1], truth[0])
    for t in (2, 3):
        own = torch.sigmoid(torch.full((1, 2, *SIZE), float(t)))
        assert torch.equal(model.seen[t], truth[t - 1] if teacher else own)


def test_unseen_objects_do_not_count_and_clips_without_any_cost_nothing():
    images, labels, complete = batch()
    labels[0, 2][labels[0, 2] == 2] = 0
    for name, parts in zip(RECIPES, ({"track": 3}, {"discover": 2, "track": 3}), strict=True):
        plan = small(name)
        losses = plan.rollout.run(network(plan), images, labels, complete, [torch.Generator()], teacher=1.0)
        assert losses.counts == parts
        empty = plan.rollout.run(network(plan), images, labels * 0, complete, [torch.Generator()], teacher=1.0)
        assert float(empty.total.detach()) == 0


@pytest.mark.parametrize("name", RECIPES)
def test_a_few_steps_on_one_clip_bring_the_loss_down(name: str):
    plan = small(name)
    plan = replace(plan, model=replace(plan.model, hidden_size=32))
    model, clip, totals = network(plan), batch(frames=2), []
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(12):
        losses = plan.rollout.run(model, *clip, [torch.Generator()], teacher=0.0)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(float(losses.total.detach()))
    assert totals[-1] < 0.8 * totals[0]
