"""Learning to outline what stands in a box: what is drawn, what is learned, and what stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import small_options

from rvos_cli.config import ModelConfig
from rvos_cli.errors import UsageError
from rvos_cli.model import RVOS
from rvos_cli.training.box_rollout import BoxRollout, begin_box_decoder
from rvos_cli.training.loop import train
from rvos_cli.training.recipes import recipe
from rvos_cli.training.run_options import Recipe, Stage
from rvos_cli.training.start import first_network, with_boxes
from rvos_cli.weights import load_weights

CONFIG = ModelConfig(hidden_size=16, key_dim=8)
ROLLOUT = BoxRollout(sides=(64, 64), least=20)
STAGE = Stage(until=1.0, teacher=0.0, real=0.6, frames=1, size=(64, 96))
TINY = Recipe(
    model=replace(CONFIG, boxes=True),
    rollout=ROLLOUT,
    stages=(STAGE,),
    steps=3,
    batch=2,
    warmup=1,
    learns="box_decoder",
)


def draws(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + n) for n in range(count)]


def network() -> RVOS:
    torch.manual_seed(0)
    return RVOS(TINY.model).eval()


def clips(*labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    stacked = torch.stack(labels)[:, None]
    torch.manual_seed(1)
    return torch.randn(len(labels), 1, 3, *stacked.shape[-2:]), stacked


def square(identity: int = 1) -> torch.Tensor:
    labels = torch.zeros(64, 96, dtype=torch.uint8)
    labels[20:40, 30:60] = identity
    return labels


def test_the_loss_is_the_mean_over_both_looks_at_all_clips_that_have_an_object():
    model = network()
    frames, labels = clips(square(), square())
    one, other = (
        ROLLOUT.run(model, frames[n : n + 1], labels[n : n + 1], torch.tensor([True]), [draws(2)[n]], teacher=0.0)
        for n in range(2)
    )
    both = ROLLOUT.run(model, frames, labels, torch.tensor([True, True]), draws(2), teacher=0.0)
    assert float(both.value) == pytest.approx((float(one.value) + float(other.value)) / 2, rel=1e-4)
    assert float(both.counts["outline"]) == 4
    assert both.total.requires_grad


def test_clips_without_an_object_of_their_own_teach_nothing():
    frames, labels = clips(
        torch.zeros(64, 96, dtype=torch.uint8), square(), torch.full((64, 96), 255, dtype=torch.uint8)
    )
    losses = ROLLOUT.run(
        network(),
        frames,
        labels,
        torch.tensor([True] * 3),
        draws(3),
        teacher=0.0,
        separate=torch.tensor([True, False, True]),
    )
    assert float(losses.value) == 0
    assert not losses.total.requires_grad


def test_boxes_are_drawn_around_objects_a_little_carelessly():
    drawn = [ROLLOUT._choose(square(3), draw) for draw in draws(50)]
    assert {chosen[0] for chosen in drawn if chosen is not None} == {3}
    boxes = torch.tensor([chosen[1] for chosen in drawn if chosen is not None])
    true = torch.tensor([30.0, 20, 60, 40])
    assert torch.allclose(boxes.mean(dim=0), true, atol=0.4)
    assert 0.2 < float((boxes - true).std()) < 1.5
    assert ROLLOUT._choose(square()[:21, :31], draws(1)[0]) is None  # a single pixel of it


def test_what_is_unknown_does_not_count():
    model = network()
    labels = square()
    frames, plain = clips(labels)
    unknown = plain.clone()
    unknown[plain == 0] = 255
    losses = [
        float(ROLLOUT.run(model, frames, each, torch.tensor([True]), draws(1), teacher=0.0).value)
        for each in (plain, unknown)
    ]
    assert losses[0] != losses[1]


def test_the_box_decoder_begins_as_the_slots_do_whose_mask_is_half_of_the_box():
    model = network()
    begin_box_decoder(model, like=model.decoder)
    own, boxes = (decoder.clstm_list[0].Gates.weight for decoder in (model.decoder, model.box_decoder))
    assert torch.equal(own[:, :16], boxes[:, :16])
    assert torch.equal(own[:, -32:], boxes[:, -32:])
    assert torch.equal(boxes[:, -34], boxes[:, -33])
    assert torch.equal(model.decoder.conv_out.weight, model.box_decoder.conv_out.weight)


def test_a_run_teaches_the_box_decoder_alone_and_goes_on_where_it_stopped(data_root: Path, tmp_path: Path):
    options = small_options(data_root, tmp_path, replace(TINY, model=CONFIG, learns=""))
    options = replace(options, recipe=TINY)
    start = load_weights(options.init or "")
    assert train(replace(options, recipe=replace(TINY, steps=3))).finished
    learned = load_weights(options.output / "weights.safetensors")
    assert learned.config == TINY.model
    assert all(torch.equal(learned.tensors[name], tensor) for name, tensor in start.tensors.items())
    first, _ = first_network(options)
    moved = [name for name, tensor in first.state_dict().items() if not torch.equal(tensor, learned.tensors[name])]
    assert moved
    assert all(name.startswith("box_decoder.") for name in moved)


def test_other_recipes_leave_the_box_decoder_behind(tmp_path: Path):
    plain = with_boxes(network(), CONFIG)
    assert plain.config == CONFIG
    assert not [name for name in plain.state_dict() if name.startswith("box_decoder")]
    assert all(torch.equal(tensor, network().state_dict()[name]) for name, tensor in plain.state_dict().items())


def test_the_recipe_for_boxes_wants_finished_weights(data_root: Path, tmp_path: Path):
    options = replace(small_options(data_root, tmp_path, TINY), init=None)
    with pytest.raises(UsageError, match="add --init with finished weights"):
        train(options)
    assert not options.output.exists()


def test_the_recipes_for_boxes_differ_in_their_media_alone():
    boxes, free = recipe("lite-boxes"), recipe("lite-free-boxes")
    assert (boxes.learns, boxes.model.boxes, boxes.trunk_rate, boxes.free, free.free) == (
        "box_decoder",
        True,
        0,
        False,
        True,
    )
    (stage,), (free_stage,) = boxes.stages, free.stages
    assert (stage.frames, free_stage) == (1, replace(stage, real=0.0))
    assert replace(free, stages=boxes.stages, free=False, seed=boxes.seed, divided=boxes.divided) == boxes
