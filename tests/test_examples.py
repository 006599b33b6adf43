import json
import runpy
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import rvos_cli as rvos

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
DEMO = EXAMPLES / "demo"
FRAMES = 5


def labels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.array(image)


@pytest.fixture(scope="module")
def short_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cut the first frames out of the demo clip, re-encoded with PyAV."""
    path = tmp_path_factory.mktemp("clip") / "short.mp4"
    with av.open(str(DEMO / "demo.mp4")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for index, frame in zip(range(FRAMES), source.decode(video=0), strict=False):
            picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
            picture.pts = index
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run a script of examples/ with arguments, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    return run


def test_the_demo_clip_is_what_every_player_plays_and_stays_small():
    clip = DEMO / "demo.mp4"
    assert clip.stat().st_size <= 1_500_000
    with av.open(str(clip)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height, video.average_rate) == (640, 360, 25)
        assert (audio.codec_context.name, audio.channels) == ("aac", 2)
        assert sum(1 for _ in container.decode(video=0)) == 125
    with av.open(str(clip)) as container:
        loudness = max(float(np.abs(frame.to_ndarray()).max()) for frame in container.decode(audio=0))
    assert 0.1 < loudness <= 1.0


def test_the_demo_masks_show_three_objects_and_the_first_equals_the_first_truth():
    first = labels_of(DEMO / "first_mask.png")
    assert first.shape == (360, 640)
    assert np.unique(first).tolist() == [0, 1, 2, 3]
    assert np.array_equal(first, labels_of(DEMO / "truth" / "00000.png"))


def test_the_demo_hides_the_pelican_and_shows_it_again():
    assert 2 not in labels_of(DEMO / "truth" / "00060.png")
    assert 2 in labels_of(DEMO / "truth" / "00100.png")


def test_the_credits_name_every_photograph_that_the_script_uses():
    script = (EXAMPLES / "make_demo.py").read_text(encoding="utf-8")
    credits = (DEMO / "CREDITS.md").read_text(encoding="utf-8")
    for name in ("aitzgorri_by_Aitzol_Berasategi.jpg", "firetruck.png", "pelican.png", "heron_greatblue_flying.png"):
        assert name in script
        assert name in credits


def test_every_short_example_stays_short_and_has_a_test():
    tests = Path(__file__).read_text(encoding="utf-8")
    for script in EXAMPLES.glob("*.py"):
        assert f'"{script.name}"' in tests
        if script.name != "make_demo.py":
            assert len(script.read_text(encoding="utf-8").splitlines()) < 40, script.name


def test_segment_video_writes_the_outputs(example, short_demo, tmp_path, capsys):
    example("segment_video.py", short_demo, "-o", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["frames"] == FRAMES
    assert len(list((tmp_path / "out" / "masks").glob("*.png"))) == FRAMES
    assert f"{FRAMES} frames, {len(summary['objects'])} objects" in capsys.readouterr().out


def test_track_video_follows_the_three_objects(example, short_demo, tmp_path, capsys):
    example("track_video.py", short_demo, DEMO / "first_mask.png", "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "objects").iterdir()) == ["01", "02", "03"]
    out = capsys.readouterr().out
    assert f"frame {FRAMES} of {FRAMES}" in out
    assert "object 3: seen in" in out


def test_track_boxes_follows_what_is_in_them(example, short_demo, tmp_path, capsys):
    example("track_boxes.py", short_demo, "366,186,606,282", "38,110,130,176", "208,48,307,99", "-o", tmp_path / "out")
    true, outlined = labels_of(DEMO / "first_mask.png"), labels_of(tmp_path / "out" / "masks" / "00000.png")
    for identity in (1, 2, 3):
        found, there = outlined == identity, true == identity
        assert (found & there).sum() > 0.8 * (found | there).sum()
    assert f"object 3: seen in {FRAMES} of {FRAMES} frames" in capsys.readouterr().out


def test_stream_arrays_counts_objects_frame_by_frame(example, short_demo, capsys):
    example("stream_arrays.py", short_demo)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (FRAMES + 1) // 2
    assert all(line.startswith(f"frame {index}: ") for index, line in enumerate(lines))


def test_cut_out_writes_the_object_on_a_transparent_ground(example, short_demo, tmp_path):
    example("cut_out.py", short_demo, DEMO / "first_mask.png", "--object", 1, "-o", tmp_path / "cut")
    files = sorted((tmp_path / "cut").glob("*.png"))
    assert [path.stem for path in files] == [f"{index:05d}" for index in range(FRAMES)]
    with Image.open(files[0]) as image:
        assert (image.mode, image.size) == ("RGBA", (640, 360))
        alpha = np.array(image)[..., 3]
    inside = labels_of(DEMO / "first_mask.png") == 1
    assert alpha[inside].mean() > 200
    assert alpha[~inside].mean() < 20


def test_green_screen_keeps_the_objects_and_paints_the_rest(example, short_demo, tmp_path):
    example("green_screen.py", short_demo, DEMO / "first_mask.png", "-o", tmp_path / "green.mp4")
    with av.open(str(tmp_path / "green.mp4")) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(images) == FRAMES
    corner = images[0][-40:, :40].reshape(-1, 3).mean(0)
    assert np.allclose(corner, (0, 177, 64), atol=16)


def test_green_screen_keeps_the_times_of_the_frames(example, short_demo, tmp_path):
    times = [Fraction(index, 10) for index in range(FRAMES)]
    times[-1] += Fraction(1, 5)  # the last but one is shown for longer
    slow = tmp_path / "slow.mp4"
    with av.open(str(short_demo)) as source, av.open(str(slow), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for time, frame in zip(times, source.decode(video=0), strict=True):
            picture = av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"), format="rgb24")
            picture.pts, picture.time_base = round(time * 10), Fraction(1, 10)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    example("green_screen.py", slow, DEMO / "first_mask.png", "-o", tmp_path / "green.mp4")
    with av.open(str(tmp_path / "green.mp4")) as container:
        assert [frame.pts * frame.time_base for frame in container.decode(video=0)] == times
        assert container.duration / av.time_base == pytest.approx(0.7, abs=0.01)


def test_spotlight_keeps_colour_only_where_objects_are(example, short_demo, tmp_path):
    example("spotlight.py", short_demo, "-o", tmp_path / "lit")
    files = sorted((tmp_path / "lit").glob("*.jpg"))
    assert len(files) == FRAMES
    with Image.open(files[0]) as image:
        assert image.size == (640, 360)


def test_contact_sheet_lays_frames_out_in_rows(example, short_demo, tmp_path):
    example("contact_sheet.py", short_demo, tmp_path / "sheet.png", "--frames", 4, "--columns", 3, "--width", 160)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (480, 180)
        assert np.asarray(sheet)[:90].std() > 10


def test_contact_sheet_without_arguments_shows_the_demo(example, tmp_path):
    example("contact_sheet.py")
    with Image.open(tmp_path / "rvos-out" / "sheet.jpg") as sheet:
        assert sheet.size == (1200, 450)


def test_make_demo_draws_the_clip_from_the_packages(example, tmp_path):
    """The script needs packages that are not here: without them it says which, and its parts work on small pictures."""
    script = runpy.run_path(str(EXAMPLES / "make_demo.py"))
    with pytest.raises(FileNotFoundError, match="aitzgorri"):
        example("make_demo.py", tmp_path, "-o", tmp_path / "demo")
    samples = script["sound"](8000)
    assert samples.shape == (2, 5 * 8000)
    assert np.isfinite(samples).all()
    assert 0.1 < np.abs(samples).max() <= 1
    Image.new("RGBA", (40, 30), (200, 30, 30, 255)).save(tmp_path / "card.png")
    card = script["load_cutout"](tmp_path / "card.png", contrast=1.0, haze=0.0)
    assert card.shape == (46, 56, 4)
    drawn = script["warp"](card, script["similarity"](640, 360, 4.0, 0.0, (28, 23)))
    assert drawn.shape == (720, 1280, 4)
    assert drawn[360, 640, 3] == 1
    assert drawn[0, 0, 3] == 0


def test_track_follows_the_true_masks_through_the_whole_demo():
    """Every second frame of the clip, so with twice the motion; the pelican is hidden for a second on the way."""
    with av.open(str(DEMO / "demo.mp4")) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][::2]
    model = rvos.load_model("lite", device="cpu")
    scores: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for frame in model.stream(iter(images), first_mask=DEMO / "first_mask.png"):
        path = DEMO / "truth" / f"{2 * frame.index:05d}.png"
        if frame.index == 0 or not path.exists():
            continue
        truth = labels_of(path)
        for identity, ious in scores.items():
            found, true = frame.labels == identity, truth == identity
            if true.any():
                ious.append(float((found & true).sum() / (found | true).sum()))
    assert all(np.mean(ious) > 0.5 for ious in scores.values()), scores


def found_again(labels: np.ndarray, truth: np.ndarray) -> dict[int, tuple[int, float]]:
    """Return for each true object the found one that covers most of it, and their IoU."""
    found = {}
    for identity in set(np.unique(truth)) - {0}:
        there = truth == identity
        best = int(np.bincount(labels[there], minlength=2)[1:].argmax()) + 1
        mask = labels == best
        found[int(identity)] = best, float((mask & there).sum() / (mask | there).sum())
    return found


@pytest.mark.parametrize("size", [352, None])
def test_segment_finds_the_three_in_a_single_picture_and_gives_each_an_id_of_its_own(size: int | None):
    with av.open(str(DEMO / "demo.mp4")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    (frame,) = rvos.load_model("lite", device="cpu").stream([image], size=size)
    assert frame.labels.max() == 3
    found = found_again(frame.labels, labels_of(DEMO / "first_mask.png"))
    assert sorted(identity for identity, _ in found.values()) == [1, 2, 3]
    assert all(iou > 0.5 for _, iou in found.values()), found


def test_segment_finds_the_three_in_the_clip_and_keeps_their_ids():
    ids: dict[int, set[int]] = {1: set(), 2: set(), 3: set()}
    ious: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for frame in rvos.load_model("lite", device="cpu").stream(DEMO / "demo.mp4"):
        path = DEMO / "truth" / f"{frame.index:05d}.png"
        if path.exists():
            assert frame.labels.max() <= 3
            for identity, (found, iou) in found_again(frame.labels, labels_of(path)).items():
                ids[identity].add(found)
                ious[identity].append(iou)
    assert all(len(each) == 1 for each in ids.values()) and len(set.union(*ids.values())) == 3, ids
    assert all(np.mean(each) > 0.65 for each in ious.values()), ious
