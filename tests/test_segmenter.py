"""The facade: what it refuses before it begins, what it says and sums up, and which network it runs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from squares import FRAMES, square_labels, squares

import rvos_cli as rvos
from rvos_cli import segmenter, session
from rvos_cli.masks import read_labels
from rvos_cli.model.compiled import CompiledRVOS
from rvos_cli.model.compiling import can_compile
from rvos_cli.model.quantized import can_quantize
from rvos_cli.segmenter import Segmenter
from rvos_cli.session import Session
from rvos_cli.sinks import video


@pytest.mark.skipif(not can_compile(), reason="OpenVINO is not installed")
@pytest.mark.parametrize(
    ("asked", "worth", "compiled"),
    [(None, FRAMES, FRAMES - 3), (None, FRAMES + 1, 0), (False, 1, 0), (True, FRAMES + 1, FRAMES)],
)
def test_videos_that_are_long_enough_run_compiled_with_the_same_masks(
    tiny_model: Segmenter, clip: Path, first_mask: Path, tmp_path: Path, asked, worth, compiled: int, monkeypatch
):
    monkeypatch.setattr(tiny_model, "_compile", asked)
    monkeypatch.setattr(segmenter, "WORTH_COMPILING", worth)
    used: list[bool] = []

    class Watched(Session):
        def step(self, image: NDArray[np.uint8], *given: Any, **options: Any) -> NDArray[np.uint8]:
            labels = super().step(image, *given, **options)
            used.append(isinstance(self._tracker.model, CompiledRVOS))
            return labels

    monkeypatch.setattr(segmenter, "Session", Watched)
    monkeypatch.setattr(session, "FRAMES_MEANWHILE", 3)
    tiny_model.track(clip, first_mask=first_mask, output=tmp_path / "out")
    monkeypatch.setattr(segmenter, "can_compile", lambda: False)
    tiny_model.track(clip, first_mask=first_mask, output=tmp_path / "plain")
    assert used == [False] * (FRAMES - compiled) + [True] * compiled + [False] * FRAMES
    differing = [
        np.mean(read_labels(path) != read_labels(tmp_path / "plain" / "masks" / path.name))
        for path in (tmp_path / "out" / "masks").iterdir()
    ]
    assert max(differing) < 0.01


def test_the_wrong_kind_of_weights_is_told_before_the_video_is_opened(zero_shot_weights: Path, tmp_path: Path):
    model = rvos.load_model(zero_shot_weights, device="cpu")
    with pytest.raises(rvos.WeightsError, match="zero-shot"):
        model.track(tmp_path / "missing.mp4", first_mask=tmp_path / "missing.png")
    with pytest.raises(rvos.WeightsError, match="zero-shot"):
        model.stream(tmp_path / "missing.mp4", first_mask=tmp_path / "missing.png")


def test_a_missing_first_mask_is_no_wish_to_find_objects(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    with pytest.raises(rvos.MaskError, match="no first mask"):
        tiny_model.track(clip, first_mask=None, output=tmp_path / "out")
    with pytest.raises(rvos.UsageError, match="one mask"):
        tiny_model.stream(clip, masks="first.png")
    assert not (tmp_path / "out").exists()


def test_numpy_numbers_are_numbers_and_fractions_are_no_sizes(tiny_model: Segmenter, colours: None, tmp_path: Path):
    summary = tiny_model.segment([squares(0)], output=tmp_path / "out", size=np.int64(64), max_objects=np.uint8(3))
    assert summary.frames == 1
    summary = tiny_model.segment([squares(0)], output=tmp_path / "half", size=64, threshold=np.float32(0.5))
    assert json.loads(Path(summary.outputs["summary"]).read_text())["options"]["threshold"] == 0.5
    with pytest.raises(rvos.UsageError, match="whole number"):
        tiny_model.segment([squares(0)], output=tmp_path / "other", size=64.5)
    for threshold in (None, np.array([0.4, 0.5])):
        with pytest.raises(rvos.UsageError, match="threshold must be a number"):
            tiny_model.segment([squares(0)], output=tmp_path / "other", threshold=threshold)


def test_progress_and_notices_are_reported(
    tiny_model: Segmenter, colours: None, clip: Path, first_mask: Path, tmp_path: Path
):
    steps, notices = [], []
    tiny_model.track(
        clip,
        first_mask=first_mask,
        output=tmp_path / "out",
        progress=lambda done, total: steps.append((done, total)),
        notice=lambda kind, line: notices.append((kind, line)),
    )
    assert [done for done, _ in steps] == list(range(1, FRAMES + 1))
    assert notices == [("found", "found 2 objects: ids 1, 2")]


def test_options_out_of_bounds_are_refused(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    for options in ({"size": 8}, {"max_objects": 0}, {"threshold": 1.0}):
        with pytest.raises(rvos.UsageError):
            tiny_model.segment(clip, output=tmp_path / "out", **options)


def test_the_digest_names_the_work(tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path):
    digests = [
        tiny_model.segment(clip, output=tmp_path / str(index), **options).digest
        for index, options in enumerate([{}, {}, {"threshold": 0.6}, {"objects": False}])
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    assert tiny_model.segment([squares(0)], output=tmp_path / "arrays").digest == ""


def test_what_the_sound_lost_is_told_and_written_down(
    tiny_model: Segmenter, clip: Path, first_mask: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    finish = video.finish_video
    lost = "the sound's end is damaged and left out"
    monkeypatch.setattr(video, "finish_video", lambda *a, **k: [*finish(*a, **k), lost])
    told: list[tuple[str, str]] = []
    summary = tiny_model.track(
        clip, first_mask=first_mask, output=tmp_path / "out", notice=lambda kind, line: told.append((kind, line))
    )
    assert ("warning", lost) in told
    assert lost in summary.warnings


def test_matching_is_in_8_bits_where_it_can_be_and_float32_is_not_asked_for():
    frames = [squares(index) for index in range(6)]
    default, exact = (rvos.load_model(device="cpu", half=half, compiled=False) for half in (None, False))
    assert default._model.matching.quantized == can_quantize()
    assert not exact._model.matching.quantized
    streams = [model.stream(frames, first_mask=square_labels()) for model in (default, exact)]
    for fast, plain in zip(*streams, strict=True):
        assert np.mean(fast.labels != plain.labels) < 0.002
