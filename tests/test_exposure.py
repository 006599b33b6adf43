"""Dark and hazy frames: which are so, what they become, and that a shot which is well exposed stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import scene
from small_demo import SMALL, clip, first_mask, labels_of, lite

from rvos_cli.exposure import ExposureRules, is_poor, well_exposed
from rvos_cli.session import Session
from rvos_cli.views import ViewRules, view_of

RULES = ExposureRules()
Frame = NDArray[np.uint8]


def dark(frame: Frame) -> Frame:
    return np.asarray(0.5 * 255 * (frame / 255) ** 2, np.uint8)


def hazy(frame: Frame) -> Frame:
    return np.asarray(130 + 0.4 * frame, np.uint8)


@pytest.mark.parametrize("worsened", [dark, hazy])
def test_a_poor_frame_gets_its_levels_back(worsened):
    frame = scene(1)
    poor = worsened(frame)
    assert is_poor([poor], RULES)
    better = well_exposed(poor, RULES)
    assert better.dtype == np.uint8 and better.shape == frame.shape
    assert np.abs(better.astype(int) - frame).mean() < 0.7 * np.abs(poor.astype(int) - frame).mean()


def test_a_shot_is_poor_if_all_its_frames_are():
    assert not is_poor([scene(1)], RULES)
    assert not is_poor([dark(scene(1)), scene(1)], RULES)
    assert is_poor([dark(scene(1)), dark(scene(2))], RULES)


def test_a_few_bright_pixels_are_no_exposure():
    frame = dark(scene(1))
    frame[0, :20] = 255
    assert is_poor([frame], RULES)


def test_a_frame_of_which_half_is_dark_is_bent_upwards():
    ramp = np.linspace(0, 1, 160) ** 4 * 180
    frame = np.broadcast_to(ramp[None, :, None], (96, 160, 3)).astype(np.uint8)
    better = well_exposed(frame, RULES)
    assert np.median(better) > 3 * np.median(frame)  # spread alone it would be less than half as much more
    assert (np.diff(better[0, :, 0].astype(int)) >= 0).all()


def test_brighter_frames_of_a_dark_shot_are_left_nearly_as_they_are():
    frame = scene(1)
    assert np.abs(well_exposed(frame, RULES).astype(int) - frame).mean() < 6


@pytest.mark.parametrize("frame", [np.zeros((48, 64, 3), np.uint8), np.full((1, 1, 3), 20, np.uint8)])
def test_a_black_frame_stays_black(frame):
    assert np.array_equal(well_exposed(frame, RULES), frame)


def test_noise_in_a_frame_of_one_colour_is_not_spread_over_all_levels():
    frame = np.random.default_rng(0).normal(40, 2, (96, 160, 3)).astype(np.uint8)
    assert well_exposed(frame, RULES).astype(float).std() < 15


def test_between_bars_the_picture_alone_tells():
    frame = np.pad(hazy(scene(1)), ((24, 24), (0, 0), (0, 0)))
    view = view_of([frame], ViewRules())
    assert not view.area.whole and view.poor
    assert np.array_equal(view.of(frame), well_exposed(hazy(scene(1)), RULES))
    assert not view_of([np.pad(scene(1), ((24, 24), (0, 0), (0, 0)))], ViewRules()).poor


def test_objects_of_a_dark_video_are_followed_as_in_a_bright_one():
    frames = clip()[:10]
    bright = labels_of(Session(lite(), options=SMALL, first_mask=first_mask()), frames)
    session = Session(lite(), options=SMALL, first_mask=first_mask())
    labels = labels_of(session, [dark(frame) for frame in frames])
    assert session._tracker.view is not None and session._tracker.view.poor
    for one, other in zip(labels, bright, strict=True):
        assert ((one > 0) & (other > 0)).sum() / ((one > 0) | (other > 0)).sum() > 0.85
