"""Learning to outline what stands in a box: what is drawn, what is learned, and what stays as it is."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_training import small_options
from told_network import ROLLOUT, Told, clips, draws, loss, square

from rvos_cli.config import ModelConfig
from rvos_cli.errors import UsageError
from rvos_cli.model import RVOS
from rvos_cli.training.box_rollout import begin_box_decoder
from rvos_cli.training.loop import train
from rvos_cli.training.recipes import recipe
from rvos_cli.training.run_options import Recipe, Stage, TrainOptions
from rvos_cli.training.start import first_network, make_optimizer, with_boxes
from rvos_cli.training.step import StepReport
from rvos_cli.weights import load_weights

CONFIG = ModelConfig(hidden_size=16, key_dim=8)
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


def network() -> RVOS:
    torch.manual_seed(0)
    return RVOS(TINY.model).eval()


CAREFUL = replace(ROLLOUT, care=0.0, contexts=(1.5, 1.5), sides=(128, 128))


def test_both_looks_at_all_clips_count_alike():
    frames, labels = clips(square(), square())
    yes, no, both = (
        loss(Told(*answers), frames, labels, CAREFUL) for answers in ((9.0, 9.0), (-9.0, -9.0), (9.0, -9.0))
    )
    assert yes < no / 3  # all of the box is the object, and outside of it nothing counts
    assert both == pytest.approx((yes + no) / 2, rel=1e-4)
    losses = ROLLOUT.run(network(), frames, labels, torch.tensor([True, True]), draws(2), teacher=0.0)
    assert float(losses.counts["outline"]) == 4
    assert losses.total.requires_grad


def test_the_network_is_shown_the_box_and_what_is_around_it():
    labels = square(2)
    frames, stacked = clips(labels)
    frames[0, 0, :] = (labels == 2).float()
    for context in (1.0, 2.0):
        told = Told()
        loss(told, frames, stacked, replace(CAREFUL, contexts=(context, context)))
        picture, box = told.seen[0]
        assert torch.allclose(picture[0, 0], box[0, 0], atol=0.6)  # as far as resizing blurs
        assert float((picture[0, 0] - box[0, 0]).abs().mean()) < 0.03
        assert float(box.mean()) == pytest.approx(1 if context == 1 else 600 / (45 * 54), abs=0.05)


def test_another_object_in_the_box_is_none_of_it():
    labels = square(1)
    labels[20:40, 45:60] = 2
    frames, stacked = clips(labels)
    alone = replace(CAREFUL, least=301)  # no object has so many
    assert loss(Told(), frames, stacked, alone) == 0
    labels[20:40, 30:46] = 1
    labels[20:40, 46:60] = 2
    half = torch.zeros_like(labels)
    half[20:40, 30:60] = labels[20:40, 30:60]
    half[20, 59] = 1  # so that the box of 1 holds all of 2
    frames, stacked = clips(half)
    assert loss(Told(-9.0, -9.0), frames, stacked, replace(CAREFUL, least=300)) < 0.75 * loss(
        Told(-9.0, -9.0), *clips(square(1)), replace(CAREFUL, least=300)
    )


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
    drawn = [ROLLOUT._choose(square(3), draw) for draw in draws(300)]
    assert {chosen[0] for chosen in drawn if chosen is not None} == {3}
    boxes = torch.tensor([chosen[1] for chosen in drawn if chosen is not None])
    true = torch.tensor([30.0, 20, 60, 40])
    assert torch.allclose(boxes.mean(dim=0), true, atol=0.4)
    across, down = (float((boxes - true)[:, side::2].std()) for side in (0, 1))
    assert across == pytest.approx(0.02 * 30, rel=0.15)
    assert down == pytest.approx(0.02 * 20, rel=0.15)
    everywhere = [ROLLOUT._choose(torch.ones(64, 96, dtype=torch.uint8), draw) for draw in draws(20)]
    assert {side for chosen in everywhere if chosen is not None for side in chosen[1][:2]} >= {0.0}
    assert all(
        chosen is not None and min(chosen[1]) >= 0 and chosen[1][2] <= 96 and chosen[1][3] <= 64
        for chosen in everywhere
    )
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


@torch.no_grad()
def test_the_box_decoder_begins_as_a_slot_that_has_an_object_does():
    model = network()
    begin_box_decoder(model, like=model.decoder)
    for own, boxes in zip(model.decoder.clstm_list, model.box_decoder.clstm_list, strict=True):
        features = own.Gates.weight.shape[1] - 8 - 2 * own.hidden_channels
        x, mask = torch.randn(1, features, 12, 12), torch.rand(1, 1, 12, 12)
        nothing = torch.zeros_like(mask)
        # Own mask and both cues, the others' three, what is taken, and that there is an object.
        planes = torch.cat([*[mask] * 3, *[nothing] * 4, torch.ones_like(mask)], dim=1)
        slot, _ = own(x, planes, None, None)
        box, _ = boxes(x, torch.cat([mask, mask], dim=1), None, None)
        inner = slice(1, -1)  # beside the border the plane of ones ends
        assert torch.allclose(slot[..., inner, inner], box[..., inner, inner], atol=1e-5)
    assert torch.equal(model.decoder.conv_out.weight, model.box_decoder.conv_out.weight)


@torch.no_grad()
def test_a_box_decoder_that_is_told_of_points_begins_as_it_was():
    model = network()
    pointed = with_boxes(model, replace(TINY.model, points=True)).eval()
    picture, box, points = torch.randn(1, 3, 64, 64), torch.zeros(1, 1, 64, 64), torch.rand(1, 2, 64, 64)
    box[..., 16:48, 16:48] = 1
    for before, after in zip(model.outline(picture, box), pointed.outline(picture, box, points), strict=True):
        assert torch.allclose(before, after, atol=1e-5)
    cell = pointed.box_decoder.clstm_list[-1]
    hidden = 2 * cell.hidden_channels
    cell.Gates.weight[:, -hidden - 2 : -hidden] = 0.5  # as learning may make it
    assert not torch.allclose(pointed.outline(picture, box, points)[-1], model.outline(picture, box)[-1], atol=1e-2)


@torch.no_grad()
def test_a_slot_begins_a_decoder_of_boxes_and_points_as_one_of_boxes_alone():
    plain = RVOS(CONFIG).eval()
    boxes, pointed = (with_boxes(plain, replace(TINY.model, points=points)).eval() for points in (False, True))
    picture, box, points = torch.randn(1, 3, 64, 64), torch.ones(1, 1, 64, 64), torch.rand(1, 2, 64, 64)
    assert torch.allclose(boxes.outline(picture, box)[-1], pointed.outline(picture, box, points)[-1], atol=1e-5)


@torch.no_grad()
def test_the_second_look_sees_the_first_ones_answer_in_the_box_and_its_states():
    model = network()
    picture, box = torch.randn(1, 3, 64, 64), torch.zeros(1, 1, 64, 64)
    box[..., 16:48, 16:48] = 1
    seen: list[tuple[torch.Tensor, object]] = []
    model.box_decoder.register_forward_hook(lambda _, given, __: seen.append((given[1][-1], given[3])))
    first, _ = model.outline(picture, box)
    (planes, states), (again, kept) = seen
    small = torch.nn.functional.avg_pool2d(box, 4)
    assert torch.equal(planes, torch.cat([small, torch.zeros_like(small)], dim=1))
    answer = torch.nn.functional.avg_pool2d(first.sigmoid(), 4) * small
    assert torch.allclose(again, torch.cat([small, answer], dim=1))
    assert states is None and kept is not None


def test_a_run_teaches_the_box_decoder_alone(data_root: Path, tmp_path: Path):
    options = replace(small_options(data_root, tmp_path, replace(TINY, model=CONFIG, learns="")), recipe=TINY)
    start, (first, _) = load_weights(options.init or ""), first_network(options)
    slots = first.decoder.clstm_list[0].Gates.weight
    assert torch.equal(first.box_decoder.clstm_list[0].Gates.weight[:, :16], slots[:, :16])
    assert train(options).finished
    learned = load_weights(options.output / "weights.safetensors")
    assert learned.config == TINY.model
    assert all(torch.equal(learned.tensors[name], tensor) for name, tensor in start.tensors.items())
    moved = [name for name, tensor in first.state_dict().items() if not torch.equal(tensor, learned.tensors[name])]
    assert moved
    assert all(name.startswith("box_decoder.") for name in moved)
    make_optimizer(first, TINY)
    assert {name for name, each in first.named_parameters() if each.requires_grad} >= set(moved)
    assert all(name.startswith("box_decoder.") for name, each in first.named_parameters() if each.requires_grad)


def test_a_run_that_stops_goes_on_as_if_it_had_not(data_root: Path, tmp_path: Path):
    options = replace(small_options(data_root, tmp_path, replace(TINY, model=CONFIG, learns="")), recipe=TINY)
    train(options)
    other = replace(options, output=tmp_path / "other")

    def stop(report: StepReport) -> None:
        if report.step == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    assert not train(other, on_step=stop).finished
    assert train(other).finished
    one, two = (load_weights(each.output / "weights.safetensors").tensors for each in (options, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_goes_on_from_a_box_decoder_that_has_learned(data_root: Path, tmp_path: Path):
    options = small_options(data_root, tmp_path, TINY)  # whose first weights have one
    trained = load_weights(options.init or "").tensors
    first, _ = first_network(options)
    assert all(torch.equal(tensor, trained[name]) for name, tensor in first.state_dict().items())


def test_nothing_is_validated_that_cannot_change(tmp_path: Path):
    with pytest.raises(UsageError, match="leave out --validate"):
        TrainOptions(data=tmp_path, output=tmp_path, recipe=TINY, validate=tmp_path)


def test_other_recipes_leave_the_box_decoder_behind(tmp_path: Path):
    before = network()
    plain = with_boxes(before, CONFIG)
    assert plain.config == CONFIG
    assert not [name for name in plain.state_dict() if name.startswith("box_decoder")]
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in plain.state_dict().items())


def test_a_recipe_without_points_takes_the_box_decoder_as_if_none_were_told():
    pointed = with_boxes(network(), replace(TINY.model, points=True)).eval()
    plain = with_boxes(pointed, TINY.model).eval()
    picture, box = torch.randn(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    with torch.no_grad():
        without = pointed.outline(picture, box, torch.zeros(1, 2, 64, 64))[-1]
        assert torch.allclose(plain.outline(picture, box)[-1], without, atol=1e-5)


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
