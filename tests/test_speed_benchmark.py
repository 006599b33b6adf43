"""benchmarks/speed.py's pieces: the published schedule is the published network, counts, rows, and what is written."""

import csv
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rvos_cli.weights import load_published

SCRIPTS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_the_published_schedule_is_the_published_network(script, monkeypatch):
    schedule = script("published_schedule")
    torch.manual_seed(0)
    monkeypatch.setattr(schedule, "SLOTS", 3)
    plain = schedule.PublishedSchedule().eval()
    with torch.no_grad():  # make every input count
        for parameter in plain.decoder.parameters():
            parameter.mul_(6)
    states = (plain.encoder.state_dict(), plain.decoder.state_dict())
    ours = load_published(*states, {**schedule.ARGUMENTS, "maxseqlen": 3})
    frames, masks = torch.randn(4, 3, 64, 96), (torch.rand(1, 3, 64, 96) > 0.7).float()
    with torch.inference_mode():
        expected = torch.cat(list(plain.probabilities(iter(frames[:, None]), masks)))
    assert expected.std() > 0.05
    torch.testing.assert_close(ours.forward_clip(frames, masks[0]), expected, atol=1e-5, rtol=0)


def test_the_published_schedule_gives_labels_of_the_frames_size(script, monkeypatch):
    schedule = script("published_schedule")
    monkeypatch.setattr(schedule, "SIZE", (64, 96))
    frames = np.random.default_rng(0).integers(0, 256, (3, 50, 80, 3), np.uint8)
    mask = np.zeros((50, 80), np.uint8)
    mask[10:30, 20:40] = 2
    network = schedule.PublishedSchedule().eval()
    labels = list(schedule.stream(iter(frames), mask, torch.device("cpu"), network))
    assert [(each.shape, each.dtype) for each in labels] == [((50, 80), np.uint8)] * 3
    assert max(each.max() for each in labels) <= schedule.SLOTS


def test_operations_and_bytes_are_those_of_the_layers(script):
    floor = script("floor")
    convolution = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
    x, y = torch.rand(1, 3, 16, 20), torch.rand(32, 64)
    with torch.inference_mode(), floor.OperationCount() as count:
        convolution(x)
        torch.sigmoid(x)
        y @ y.T
    image, product = count.seen
    assert image == (2 * 8 * 3 * 9 * 16 * 20, 4 * (3 * 16 * 20 + 8 * 3 * 9 + 8 * 16 * 20))
    assert product == (2 * 32 * 64 * 32, 4 * (2 * 32 * 64 + 32 * 32))


def test_the_floor_takes_the_longer_of_computing_and_moving(script, monkeypatch):
    floor = script("floor")
    monkeypatch.setattr(floor, "matmul_rate", lambda *_: 1000.0)
    monkeypatch.setattr(floor, "copy_rate", lambda *_: 10.0)
    y = torch.rand(4, 4)
    bottom = floor.floor(lambda: y @ y, torch.device("cpu"), torch.float32)
    assert (bottom["operations"], bottom["bytes"]) == (128, 192)
    assert bottom["seconds"] == 19.2


def test_rows_tell_what_was_measured_and_whether_it_is_enough(script):
    rows = script("speed_table")
    value = rows.Value
    lines = rows.table(
        "cpu", {"published": value(1.8, "a"), "cutie": value(None, "not installed"), "help": value(0.41)}
    )
    cells = {line.split(" | ")[0].lstrip("| "): line.strip("| ").split(" | ")[1:] for line in lines.splitlines()}
    assert len(lines.splitlines()) == 2 + len(rows.ROWS)
    published = next(row.title for row in rows.ROWS if row.key == "published")
    assert cells[published] == ["1.8 times as fast", "at least 1.8", "yes", "a"]
    assert cells["start of `rvos --help`"][:3] == ["0.41 s", "at most 0.4", "no"]
    assert cells["lite against Cutie-small, one object"][0] == "not installed"
    assert cells["lite against SAM 2.1 tiny, one object"][0] == "not measured yet"


def test_a_section_is_replaced_and_nothing_else(script, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# A\n<!-- speed: cpu -->\nold\n<!-- end of speed: cpu -->\nrest\n")
    write = script("speed_table").write_section
    for text in ("new", "newer\n"):
        write(readme, "cpu", text)
    assert readme.read_text() == "# A\n<!-- speed: cpu -->\nnewer\n<!-- end of speed: cpu -->\nrest\n"
    with pytest.raises(ValueError, match="speed: cuda"):
        write(readme, "cuda", "new")


def test_the_readme_has_a_section_for_each_device_with_every_row(script):
    text = (SCRIPTS / "README.md").read_text(encoding="utf-8")
    for device in ("cpu", "cuda"):
        section = text.partition(f"<!-- speed: {device} -->\n")[2].partition(f"<!-- end of speed: {device} -->")[0]
        for row in script("speed_table").ROWS:
            assert f"| {row.title} | " in section


def test_the_film_runs_to_and_fro_without_a_cut(script):
    order = list(itertools.islice(script("speed_worker")._to_and_fro(4), 9))
    assert order == [0, 1, 2, 3, 2, 1, 0, 1, 2]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 10])
def test_first_masks_have_as_many_objects_as_asked_for(script, count):
    own = np.zeros((480, 854), np.uint8)
    own[100:120, 100:130], own[300:350, 600:700] = 1, 2
    labels = script("speed_worker")._with_objects(own, count)
    assert np.unique(labels).tolist() == list(range(count + 1))
    assert np.array_equal(labels[own == 1], own[own == 1])


def test_a_worker_runs_programs_and_tells_what_is_missing(script, tmp_path, clip, tiny_weights):
    """The whole protocol in a process of its own, with the published schedule and a peer that is not there."""
    process = script("speed_processes").Process
    with process(sys.executable, tmp_path, "cpu") as worker:
        assert worker.ask("prepare", frames=str(clip), length=3) == {"frames": 6}
        assert {path.name for path in tmp_path.iterdir()} >= {"frames.npy", "masks.npy", "video.mp4", "first_mask.png"}
        assert np.load(tmp_path / "frames.npy").shape == (6, 480, 854, 3)
        assert worker.ask("open", key="a", program="schedule", objects=2) == {}
        seconds = worker.ask("take", key="a", frames=1)["seconds"]
        assert len(seconds) == 1
        assert min(seconds) > 0
        with pytest.raises(script("speed_processes").WorkerError, match="KeyError"):
            worker.ask("take", key="b", frames=1)
        worker.ask("close", key="a")


def test_a_peer_that_is_not_installed_is_absent(script, tmp_path, monkeypatch):
    worker = script("speed_worker")
    np.save(tmp_path / worker.FRAMES, np.zeros((4, 48, 64, 3), np.uint8))
    np.save(tmp_path / worker.MASKS, np.ones((10, 48, 64), np.uint8))
    monkeypatch.setitem(sys.modules, "cutie", None)
    answer = worker.Worker(tmp_path, "cpu").open("cutie", "cutie", objects=1, length=2)
    assert answer["absent"].startswith("rf-cutie is not installed")


def test_growth_is_written_as_numbers_and_as_a_picture(script, tmp_path):
    pytest.importorskip("matplotlib")
    growth = script("speed_growth")

    class Worker:
        """Answers that a frame takes a second per object."""

        def __init__(self) -> None:
            self.objects: dict[str, int] = {}

        def ask(self, do: str, **options: object) -> dict[str, object]:
            if do == "open":
                self.objects[str(options["key"])] = int(str(options["objects"]))
            if do == "take":
                return {"seconds": [self.objects[str(options["key"])]] * int(str(options["frames"]))}
            return {}

    curves = growth.measure_growth(Worker(), tmp_path / "growth.csv", lambda line: None)
    assert growth.draw_growth(curves, tmp_path / "growth.png", "title", lambda line: None)
    with (tmp_path / "growth.csv").open(encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    objects = {int(line["value"]): float(line["seconds_per_frame"]) for line in lines if line["against"] == "objects"}
    assert objects == {count: float(count) for count in range(1, 11)}
    assert sum(line["against"] == "frame" for line in lines) == 30
    with Image.open(tmp_path / "growth.png") as picture:
        assert picture.format == "PNG"


def test_a_command_is_timed_until_its_first_picture_and_its_end(script, tmp_path, clip, first_mask, tiny_weights):
    processes = script("speed_processes")
    output = tmp_path / "out"
    output.mkdir()
    words = ["track", str(clip), "--first-mask", str(first_mask), "--weights", str(tiny_weights)]
    result = processes.run_command([*words, "--output", str(output), "--force"], output)
    assert 0 < result["first"] <= result["seconds"]
    assert 50e6 < result["memory"] < 10e9
    with pytest.raises(processes.WorkerError, match="code 1"):
        processes.run_command(["track", "missing.mp4", "--first-mask", "missing.png"], tmp_path / "none")


def test_the_script_tells_its_options_without_loading_torch():
    code = "import sys; sys.argv = ['speed.py', '--help']; import speed\ntry: speed.main()\nexcept SystemExit: pass\n"
    code += "import json; json.dump('torch' in sys.modules, sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True)
    assert "--quick" in done.stdout
    assert json.loads(done.stderr) is False
