"""What each recipe changes of the one that it goes on from."""

from __future__ import annotations

from dataclasses import replace

from rvos_cli.training.recipes import recipe
from rvos_cli.training.rollout import RolloutOptions


def test_the_recipe_is_the_refined_one_with_divided_clips():
    refined, parts = recipe("lite-refined"), recipe("lite-parts")
    assert refined.follow_up == "lite-parts" and not refined.divided
    same = replace(parts, stages=refined.stages, steps=refined.steps, rate=refined.rate, cooldown=refined.cooldown)
    assert replace(same, seed=refined.seed, divided=0.0, follow_up=refined.follow_up) == refined
    assert (parts.steps, parts.rate, parts.cooldown, parts.seed, parts.divided) == (3500, 6e-4, 0.5, 3, 1.5)
    assert [(stage.until, stage.teacher, stage.real, stage.frames, stage.size) for stage in parts.stages] == [
        (0.53, 0.15, 0.45, 3, (128, 224)),
        (1.0, 0.1, 0.5, 4, (192, 320)),
    ]


def test_the_large_recipe_is_that_with_larger_clips_and_more_discovery():
    parts, large = recipe("lite-parts"), recipe("lite-large")
    assert (parts.follow_up, large.follow_up) == ("lite-large", "lite-full")
    assert (large.steps, large.rate, large.cooldown, large.seed, large.divided) == (2600, 6e-4, 0.6, 4, 2.0)
    assert isinstance(large.rollout, RolloutOptions) and large.rollout == replace(parts.rollout, discover=0.5)
    (stage,) = large.stages
    assert (stage.until, stage.teacher, stage.real, stage.frames, stage.size) == (1.0, 0.1, 0.55, 4, (192, 320))
    same = replace(large, rollout=parts.rollout, stages=parts.stages, steps=parts.steps, cooldown=parts.cooldown)
    assert replace(same, seed=parts.seed, divided=parts.divided, follow_up=parts.follow_up) == parts


def test_the_full_recipe_is_that_with_clips_of_nearly_full_size():
    large, full = recipe("lite-large"), recipe("lite-full")
    assert (full.steps, full.rate, full.cooldown, full.seed, full.follow_up) == (1720, 5e-4, 0.7, 5, "lite-long")
    assert [(stage.until, stage.teacher, stage.real, stage.frames, stage.size) for stage in full.stages] == [
        (0.64, 0.1, 0.6, 4, (224, 384)),
        (1.0, 0.1, 0.6, 4, (256, 448)),
    ]
    same = replace(full, stages=large.stages, steps=large.steps, rate=large.rate, cooldown=large.cooldown)
    assert replace(same, seed=large.seed, follow_up=large.follow_up) == large


def test_the_long_recipe_is_that_with_longer_clips():
    full, long = recipe("lite-full"), recipe("lite-long")
    assert (long.steps, long.rate, long.cooldown, long.seed, long.follow_up) == (850, 4e-4, 0.8, 6, "")
    (stage,) = long.stages
    assert (stage.until, stage.teacher, stage.real, stage.frames, stage.size) == (1.0, 0.1, 0.6, 6, (224, 384))
    same = replace(long, stages=full.stages, steps=full.steps, rate=full.rate, cooldown=full.cooldown)
    assert replace(same, seed=full.seed, follow_up=full.follow_up) == full


def test_the_gpu_recipe_is_that_with_larger_and_longer_clips_sixteen_at_a_time():
    full, gpu = recipe("lite-full"), recipe("lite-gpu")
    assert (gpu.steps, gpu.batch, gpu.rate, gpu.average, gpu.seed, gpu.follow_up) == (1493, 16, 4e-4, 0.998, 21, "")
    (stage,) = gpu.stages
    assert (stage.until, stage.teacher, stage.real, stage.photographs) == (1.0, 0.1, 0.55, 0.45)
    assert (stage.frames, stage.size) == (6, (288, 512))
    same = replace(gpu, stages=full.stages, steps=full.steps, batch=full.batch, rate=full.rate, average=full.average)
    assert replace(same, seed=full.seed, follow_up=full.follow_up) == full


def test_the_finding_recipe_is_that_with_short_clips_in_which_most_is_to_be_found():
    full, finding = recipe("lite-full"), recipe("lite-finding")
    assert (finding.steps, finding.rate, finding.seed, finding.follow_up) == (2150, 4e-4, 8, "")
    assert finding.rollout == RolloutOptions(slots=4, discover=0.7, partial=0.1, partly_labelled=True)
    (stage,) = finding.stages
    assert (stage.until, stage.teacher, stage.real, stage.photographs) == (1.0, 0.1, 0.35, 0.5)
    assert (stage.frames, stage.size) == (2, (256, 448))
    same = replace(finding, rollout=full.rollout, stages=full.stages, steps=full.steps, rate=full.rate)
    assert replace(same, seed=full.seed, follow_up=full.follow_up) == full


def test_the_free_recipe_goes_on_in_larger_clips():
    free, large = recipe("lite-free"), recipe("lite-free-large")
    assert (free.follow_up, large.follow_up) == ("lite-free-large", "") and free.free and large.free
    assert (large.steps, large.rate, large.cooldown, large.seed) == (1900, 6e-4, 0.7, 11)
    assert large.rollout == RolloutOptions(slots=4, discover=0.5)
    assert [(stage.until, stage.teacher, stage.real, stage.frames, stage.size) for stage in large.stages] == [
        (0.55, 0.1, 0.0, 4, (192, 320)),
        (1.0, 0.1, 0.0, 4, (224, 384)),
    ]
    same = replace(large, rollout=free.rollout, stages=free.stages, steps=free.steps, cooldown=free.cooldown)
    assert replace(same, rate=free.rate, seed=free.seed, follow_up=free.follow_up) == free


def test_the_free_recipe_goes_on_in_longer_clips():
    large, long = recipe("lite-free-large"), recipe("lite-free-long")
    assert (long.steps, long.rate, long.cooldown, long.seed) == (800, 4e-4, 0.8, 12)
    (stage,) = long.stages
    assert stage == replace(large.stages[-1], frames=6) and (stage.until, stage.size) == (1.0, (224, 384))
    same = replace(long, stages=large.stages, steps=large.steps, rate=large.rate, cooldown=large.cooldown)
    assert replace(same, seed=large.seed) == large


def test_the_free_gpu_recipe_is_the_free_large_one_with_larger_and_longer_clips_sixteen_at_a_time():
    large, gpu = recipe("lite-free-large"), recipe("lite-free-gpu")
    assert gpu.free and (gpu.steps, gpu.batch, gpu.trunk_rate, gpu.average, gpu.seed) == (1291, 16, 1.5e-4, 0.998, 22)
    (stage,) = gpu.stages
    assert (stage.until, stage.teacher, stage.real, stage.photographs) == (1.0, 0.1, 0.0, 0.5)
    assert (stage.frames, stage.size) == (5, (288, 512))
    same = replace(gpu, stages=large.stages, steps=large.steps, batch=large.batch, trunk_rate=large.trunk_rate)
    assert replace(same, average=large.average, seed=large.seed) == large
