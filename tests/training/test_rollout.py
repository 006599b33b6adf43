"""One clip through the network: who is given, who is found, and that training learns."""

import torch

from rvos_cli.config import ModelConfig
from rvos_cli.model import RVOS
from rvos_cli.training.rollout import RolloutOptions, _discover, object_masks, rollout


def clip(objects: int = 2, frames: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    images, labels = torch.randn(1, frames, 3, 64, 96) * 0.1, torch.zeros(1, frames, 64, 96, dtype=torch.uint8)
    for t in range(frames):
        for k in range(objects):
            rows, columns = slice(12, 44), slice(4 + 46 * k + 2 * t, 36 + 46 * k + 2 * t)
            labels[0, t, rows, columns] = k + 1
            images[0, t, k, rows, columns] += 2
    return images, labels


def network() -> RVOS:
    torch.manual_seed(0)
    return RVOS(ModelConfig(hidden_size=16, key_dim=8)).train()


def run(model: RVOS, *, complete: bool = True, separate: bool = True, seed: int = 0, objects: int = 2, **options):
    images, labels = clip(objects)
    draws, flags = [torch.Generator().manual_seed(seed)], (torch.tensor([complete]), torch.tensor([separate]))
    return rollout(model, images, labels, flags[0], RolloutOptions(**options), draws, flags[1])


def test_labels_become_one_mask_per_object_and_unknown_none():
    labels = torch.tensor([[[[0, 1], [2, 255]]]], dtype=torch.uint8)
    masks = object_masks(labels, 3)
    assert masks.shape == (1, 1, 3, 2, 2)
    assert masks.sum(dim=(3, 4)).flatten().tolist() == [1, 1, 0]


def test_given_objects_are_tracked_and_the_slot_behind_stays_empty():
    losses = run(network(), discover=0, partial=0)
    assert losses.counts["track"] == 2 * 2  # two objects in the frames after the first
    assert losses.counts["empty"] == 3
    assert losses.counts["discover"] == 0


def test_discovered_objects_are_tracked_from_the_next_frame_on():
    losses = run(network(), discover=1)
    assert losses.counts["discover"] == 2
    assert losses.counts["track"] == 2 * 2


def test_half_of_the_objects_given_leaves_the_others_to_be_found():
    losses = run(network(), discover=0, partial=1)
    assert losses.counts["discover"] == 1
    assert losses.counts["track"] == 1 * 1 + 2 * 1 + 1 * 0 + 1


def test_clips_that_are_not_wholly_labelled_ask_for_no_discovery():
    losses = run(network(), complete=False, discover=1)
    assert losses.counts["discover"] == 0
    assert losses.counts["empty"] == 0
    assert losses.counts["track"] == 4


def test_things_of_clips_that_are_partly_labelled_are_looked_for_where_a_recipe_says_so():
    losses = run(network(), complete=False, discover=1, partly_labelled=True)
    assert losses.counts["discover"] == 2
    assert losses.counts["empty"] == 0  # the slot behind may show what has no label
    merged = run(network(), complete=False, separate=False, discover=1, partly_labelled=True)
    assert merged.counts["discover"] == 0


def test_any_free_slot_may_find_what_is_labelled_of_a_clip_that_is_partly_labelled():
    truth = torch.zeros(1, 2, 8, 8)
    truth[0, 0, :4], truth[0, 1, 4:] = 1, 1
    logits = torch.stack([torch.full((8, 8), -4.0), truth[0, 0] * 8 - 4, truth[0, 1] * 8 - 4])[None]
    valid, whole, part = torch.ones(1, 1, 8, 8), torch.tensor([True]), torch.tensor([False])
    areas = truth.flatten(2).mean(dim=2)
    targets = torch.full((1, 3), -1)
    assert not bool(_discover(logits, truth, valid, areas, targets, whole, part).any())
    assert targets.tolist() == [[-1, 0, 1]]
    targets = torch.full((1, 3), -1)
    assert _discover(logits, truth, valid, areas, targets, whole, whole).tolist() == [[False, False, True]]
    assert targets.tolist() == [[1, 0, -1]]


def test_the_generator_decides_everything_that_is_random():
    model = network()
    first, again = run(model, seed=5), run(model, seed=5)
    assert torch.equal(first.total, again.total)


def test_a_few_steps_on_one_clip_bring_the_loss_down():
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    totals = []
    for _ in range(25):
        losses = run(model, discover=0.5, seed=3, objects=1)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        totals.append(float(losses.total.detach()))
    assert totals[-1] < 0.6 * totals[0]
