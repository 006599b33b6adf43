import itertools
import json
import os
import sys
from pathlib import Path

import av
import media
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from squares import FRAMES, HEIGHT, WIDTH, square_labels, squares

import rvos_cli as rvos
from rvos_cli import segmenter, session
from rvos_cli.batch_plan import distinct_stems
from rvos_cli.masks import read_labels
from rvos_cli.model.compiled import CompiledRVOS
from rvos_cli.model.compiling import can_compile
from rvos_cli.model.quantized import can_quantize
from rvos_cli.segmenter import Segmenter
from rvos_cli.session import Session
from rvos_cli.sinks import video


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def frames_of(video: Path) -> int:
    with av.open(str(video)) as container:
        return sum(1 for _ in container.decode(video=0))


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("this must not be reached")


def test_track_writes_the_files_of_the_contract(tiny_model: Segmenter, clip: Path, first_mask: Path, tmp_path: Path):
    out = tmp_path / "out"
    summary = tiny_model.track(clip, first_mask=first_mask, output=out)
    names = [f"{index:05d}.png" for index in range(FRAMES)]
    assert names_in(out) == ["masks", "objects", "overlay.mp4", "summary.json"]
    assert names_in(out / "masks") == names
    assert names_in(out / "objects") == ["01", "02"]
    assert frames_of(out / "overlay.mp4") == FRAMES
    for name in names:
        with Image.open(out / "masks" / name) as image:
            assert (image.mode, image.size) == ("P", (WIDTH, HEIGHT))
        labels = read_labels(out / "masks" / name)
        assert set(np.unique(labels)) <= {0, 1, 2}
        for identity in (1, 2):
            with Image.open(out / "objects" / f"{identity:02d}" / name) as image:
                assert image.mode == "L"
                assert np.array_equal(np.array(image), np.where(labels == identity, 255, 0))
    assert np.array_equal(read_labels(out / "masks" / names[0]), square_labels())
    assert json.loads((out / "summary.json").read_text()) == json.loads(json.dumps(summary.to_dict()))
    assert (summary.frames, summary.size, summary.mode, summary.fps) == (FRAMES, (HEIGHT, WIDTH), "track", 25.0)
    assert [each.id for each in summary.objects] == [1, 2]
    assert summary.to_dict()["weights"] == {"name": "tiny", "sha256": tiny_model.sha256}


def test_segment_names_masks_after_the_frames_of_a_folder(tiny_model: Segmenter, frame_folder: Path, tmp_path: Path):
    summary = tiny_model.segment(frame_folder, output=tmp_path / "out", max_objects=2)
    assert names_in(tmp_path / "out" / "masks") == sorted(f"shot{index + 8}.png" for index in range(FRAMES))
    assert (summary.mode, summary.fps, summary.frames) == ("segment", None, FRAMES)


def test_the_default_output_is_named_after_the_input(
    tiny_model: Segmenter, colours: None, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    summary = tiny_model.segment("clip.mp4", overlay=False, objects=False)
    assert names_in(tmp_path / "rvos-out" / "clip") == ["masks", "summary.json"]
    assert set(summary.outputs) == {"masks", "summary"}
    assert [each.id for each in summary.objects] == [1, 2]


@pytest.mark.parametrize("name", ["..mp4", "...mp4"])
def test_the_default_output_of_a_name_of_dots_lies_below_the_root_of_outputs(
    tiny_model: Segmenter, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
):
    monkeypatch.chdir(tmp_path)
    clip.rename(name)
    tiny_model.segment(name, overlay=False, objects=False)
    assert names_in(tmp_path) == sorted([name, "rvos-out"])
    assert names_in(tmp_path / "rvos-out") == [name]
    assert distinct_stems([Path(name)]) == [name]


def test_stream_gives_the_masks_that_track_writes(
    tiny_model: Segmenter, frame_folder: Path, first_mask: Path, tmp_path: Path
):
    tiny_model.track(frame_folder, first_mask=first_mask, output=tmp_path / "out", overlay=False, objects=False)
    frames = list(tiny_model.stream(frame_folder, first_mask=square_labels()))
    assert [frame.index for frame in frames] == list(range(FRAMES))
    for frame in frames:
        assert np.array_equal(frame.labels, read_labels(tmp_path / "out" / "masks" / f"{frame.name}.png"))


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
        def step(self, image: NDArray[np.uint8], mask: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
            labels = super().step(image, mask)
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


def test_stream_takes_arrays_without_end_one_by_one(tiny_model: Segmenter):
    taken = []

    def camera():
        for index in itertools.count():
            taken.append(index)
            yield squares(index % FRAMES)

    stream = tiny_model.stream(camera())
    assert not taken
    for frame in itertools.islice(stream, 3):
        assert frame.labels.shape == (HEIGHT, WIDTH)
        assert frame.labels.dtype == np.uint8
    assert len(taken) <= 4


@pytest.mark.parametrize("kind", ["mapping", "iterable", "array"])
def test_stream_takes_masks_of_later_frames(tiny_model: Segmenter, kind: str):
    late = square_labels(2)
    nothing = np.zeros_like(late)
    masks = {"mapping": {2: late}, "iterable": iter([None, None, late]), "array": np.stack([nothing, nothing, late])}[
        kind
    ]
    frames = list(tiny_model.stream([squares(index) for index in range(4)], masks=masks))
    assert [bool(frame.labels.any()) for frame in frames[:3]] == [False, False, True]
    assert np.array_equal(frames[2].labels, late)


def test_stream_joins_an_object_that_appears_later(tiny_model: Segmenter, colours: None):
    images = [squares(index, right=index > 1) for index in range(4)]
    later = np.where(square_labels(2) == 2, 2, 0).astype(np.uint8)
    frames = list(tiny_model.stream(images, first_mask=square_labels(0, right=False), masks={2: later}))
    assert [sorted(set(np.unique(frame.labels)) - {0}) for frame in frames] == [[1], [1], [1, 2], [1, 2]]


def test_a_mask_drawn_on_a_frame_as_ffmpeg_saves_it_fits_a_video_without_square_pixels(
    tiny_model: Segmenter, tmp_path: Path
):
    straight = media.encode(tmp_path / "straight.mp4", 2, filters="setsar=4/3")
    turned = tmp_path / "turned.mp4"
    media.ffmpeg("-display_rotation", "90", "-i", straight, "-c", "copy", turned)
    for source, size in ((straight, (96, 171)), (turned, (171, 96))):
        first = tmp_path / f"{source.stem}.png"
        media.ffmpeg("-i", source, "-frames:v", "1", first)
        with Image.open(first) as image:
            mask = np.zeros((image.height, image.width), np.uint8)
        mask[: len(mask) // 2] = 1
        frame = next(tiny_model.stream(source, first_mask=mask))
        assert frame.labels.shape == size != mask.shape
        middle = size[0] // 2
        assert (frame.labels[: middle - 1] == 1).all() and not frame.labels[middle + 1 :].any()


@pytest.mark.parametrize("masks", [{0: square_labels()}, [square_labels()]])
def test_a_first_frame_with_two_masks_is_refused(tiny_model: Segmenter, masks: object):
    with pytest.raises(rvos.MaskError, match="give one of them"):
        next(tiny_model.stream([squares(0)], first_mask=square_labels(), masks=masks))


@pytest.mark.parametrize("index", [4, -1])
def test_a_mask_of_a_frame_that_never_comes_is_told_at_the_end(tiny_model: Segmenter, index: int):
    masks = {0: square_labels(), 2: None, 9: None, index: square_labels()}
    frames = tiny_model.stream([squares(index) for index in range(4)], masks=masks)
    assert [next(frames).index for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(rvos.MaskError, match=rf"frame {index}, .* frames 0 to 3"):
        next(frames)


def test_more_masks_than_frames_are_told_at_the_end(tiny_model: Segmenter):
    nothing = np.zeros_like(square_labels())
    enough = [square_labels(), None, nothing, None, nothing]
    assert len(list(tiny_model.stream([squares(index) for index in range(3)], masks=enough))) == 3
    with pytest.raises(rvos.MaskError, match=r"frame 4, .* frames 0 to 2"):
        list(tiny_model.stream([squares(index) for index in range(3)], masks=[*enough[:4], square_labels()]))


def test_a_single_array_is_not_taken_for_a_row_of_masks(tiny_model: Segmenter):
    with pytest.raises(rvos.UsageError, match="first_mask="):
        tiny_model.stream([squares(0)], masks=square_labels())


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


def test_older_results_stay_as_they_are_without_force(
    tiny_model: Segmenter, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "old.png").write_bytes(b"old")
    (out / "summary.json").write_text('{"frames": 1, "objects": [], "weights": {}}')
    monkeypatch.setattr("rvos_cli.segmenter.Session", refuse)
    with pytest.raises(rvos.OutputError, match="--force"):
        tiny_model.segment(clip, output=out)
    assert names_in(out) == ["masks", "summary.json"]
    assert names_in(out / "masks") == ["old.png"]


def test_force_leaves_nothing_of_the_older_results(tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path):
    out = tmp_path / "out"
    tiny_model.segment(clip, output=out)
    (out / "notes.txt").write_text("mine")
    tiny_model.segment([squares(0), squares(1)], output=out, objects=False, overlay=False, force=True)
    assert names_in(out) == ["masks", "notes.txt", "summary.json"]
    assert names_in(out / "masks") == ["00000.png", "00001.png"]
    assert json.loads((out / "summary.json").read_text())["frames"] == 2


def test_a_failed_run_leaves_older_results_and_no_final_name(
    tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path
):
    def broken():
        yield squares(0)
        yield squares(1)
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        tiny_model.segment(broken(), output=out)
    assert names_in(out) == ["unfinished"]
    summary = tiny_model.segment(clip, output=out)
    assert names_in(out) == ["masks", "objects", "overlay.mp4", "summary.json"]
    before = (out / "summary.json").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        tiny_model.segment(broken(), output=out, force=True)
    assert (out / "summary.json").read_bytes() == before
    assert len(names_in(out / "masks")) == summary.frames


def test_a_run_that_fails_at_once_leaves_no_folder(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    def broken():
        yield squares(0)

    with pytest.raises(rvos.MaskError):
        tiny_model.track(clip, first_mask=np.zeros((HEIGHT, WIDTH), np.uint8), output=tmp_path / "a" / "b")
    with pytest.raises(RuntimeError, match="no step"):
        tiny_model.segment(broken(), output=tmp_path / "a" / "b", progress=_fail)
    assert not (tmp_path / "a" / "b" / "summary.json").exists()
    with pytest.raises(rvos.InputError):
        tiny_model.segment(tmp_path / "missing.mp4", output=tmp_path / "c" / "d")
    assert not (tmp_path / "c").exists()


def _fail(*_: object) -> None:
    raise RuntimeError("no step")


def test_inputs_are_never_overwritten(tiny_model: Segmenter, frame_folder: Path, clip: Path, tmp_path: Path):
    before = names_in(frame_folder)
    with pytest.raises(rvos.OutputError, match="is the input itself"):
        tiny_model.segment(frame_folder, output=frame_folder, force=True)
    frame_folder.rename(tmp_path / "masks")
    with pytest.raises(rvos.OutputError, match="where results are written"):
        tiny_model.segment(tmp_path / "masks", output=tmp_path, force=True)
    assert names_in(tmp_path / "masks") == before
    clip.rename(tmp_path / "overlay.mp4")
    with pytest.raises(rvos.OutputError, match="where results are written"):
        tiny_model.segment(tmp_path / "overlay.mp4", output=tmp_path, force=True)


def test_a_first_mask_among_the_results_is_not_replaced(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    mask = tmp_path / "out" / "masks" / "00000.png"
    mask.parent.mkdir(parents=True)
    Image.fromarray(square_labels()).save(mask)
    with pytest.raises(rvos.OutputError, match="copy the input elsewhere"):
        tiny_model.track(clip, first_mask=mask, output=tmp_path / "out", force=True)
    assert mask.exists()


def test_an_output_that_is_a_file_is_told(tiny_model: Segmenter, clip: Path, tmp_path: Path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(rvos.OutputError, match="cannot be written"):
        tiny_model.segment(clip, output=tmp_path / "taken")


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


def test_an_output_below_the_home_folder_may_be_written_with_a_tilde(
    tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    summary = tiny_model.segment(clip, output="~/results", overlay=False)
    assert (tmp_path / "home" / "results" / "summary.json").is_file()
    assert summary.outputs["masks"] == str(tmp_path / "home" / "results" / "masks")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are always text")
def test_a_name_that_is_no_text_can_be_read_back_from_the_summary(
    tiny_model: Segmenter, colours: None, clip: Path, tmp_path: Path
):
    path = clip.rename(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    tiny_model.segment(path, output=tmp_path / "out")
    written = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert written["input"] == str(path)


def test_a_frame_with_the_longest_name_a_file_can_have_is_written(tiny_model: Segmenter, colours: None, tmp_path: Path):
    name = "n" * 251 + ".png"
    Image.fromarray(squares(0)).save(tmp_path / name)
    tiny_model.segment(tmp_path / name, output=tmp_path / "out")
    for folder in ("masks", "objects/01", "objects/02"):
        assert [path.name for path in (tmp_path / "out" / folder).iterdir()] == [name]


def test_matching_is_in_8_bits_where_it_can_be_and_float32_is_not_asked_for():
    frames = [squares(index) for index in range(6)]
    default, exact = (rvos.load_model(device="cpu", half=half, compiled=False) for half in (None, False))
    assert default._model.matching.quantized == can_quantize()
    assert not exact._model.matching.quantized
    streams = [model.stream(frames, first_mask=square_labels()) for model in (default, exact)]
    for fast, plain in zip(*streams, strict=True):
        assert np.mean(fast.labels != plain.labels) < 0.002
