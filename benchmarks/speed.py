"""How fast rvos is beside others, on one machine, in one run, on the same frames.

    python benchmarks/speed.py --quick           a short run; prints the table
    python benchmarks/speed.py                   the long one; also writes README.md's table and the growth picture
    python benchmarks/speed.py --peers-python PATH   the peers live in an environment of their own

Compared are: the published schedule (``published_schedule.py``), Cutie-small and SAM 2.1 tiny (``peers.py``; rows of
peers that are not installed say so), the floor (``floor.py``), and rvos with published and with lite weights.

Every program is a process of its own and gets frames (480, 854, 3) uint8 in memory; its time runs until the label map
of that size is back in memory. Programs take turns: a few frames of the first, of the second and so on, then the first
again; a turn's first frame is not counted. A figure is the median of the turns' means. The command is run as a user
runs it; its start ends when the first mask is on the disk.

Enters: nothing (the demo clip), or ``--frames``, a video or folder. Leaves: a table on stdout, progress on stderr.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from speed_growth import draw_growth, measure_growth
from speed_machine import conditions
from speed_processes import Process, WorkerError, default_device, run_command
from speed_table import ROWS, Value, table, write_section

HERE = Path(__file__).resolve().parent
PEERS = {"cutie": "rf-cutie", "sam2": "rf-sam-2"}  # program -> distribution
VIDEO = 300  # frames of the commands' video
SHORTER = {"cpu": 1, "cuda": 6}  # so many times as many frames in a turn, where frames are that much shorter or more
BESIDE_COMMANDS = 60  # frames of the network alone before each command: longer than a turn, since a command takes long


@dataclass(frozen=True)
class Effort:
    """How long everything is measured: turns, counted frames in each turn, and the commands."""

    turns: int
    frames: Mapping[str, int]
    commands: int
    helps: int


QUICK = Effort(turns=3, frames={"schedule": 2, "published": 3, "lite": 6, "cutie": 2, "sam2": 1}, commands=1, helps=5)
FULL = Effort(turns=7, frames={"schedule": 4, "published": 8, "lite": 15, "cutie": 4, "sam2": 2}, commands=3, helps=11)


@dataclass(frozen=True)
class Program:
    """One of the programs that take turns: its process, what it runs, on how many objects, at which short side."""

    worker: str
    kind: str
    objects: int
    size: int | None = None


PROGRAMS = {
    "schedule": Program("schedule", "schedule", 2),
    "published": Program("rvos", "published", 2, 256),
    "published 3": Program("rvos", "published", 3, 256),
    "lite 2": Program("rvos", "lite", 2),
    "lite 1": Program("rvos", "lite", 1),
    "lite 3": Program("rvos", "lite", 3),
    "cutie": Program("cutie", "cutie", 1),
    "sam2": Program("sam2", "sam2", 1),
}


@dataclass
class Bench:
    """One run of this script: its processes, the turns' means so far, and why programs are absent."""

    folder: Path
    device: str
    effort: Effort
    peers_python: str
    stack: ExitStack
    turns: dict[str, list[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    _processes: dict[str, Process] = field(default_factory=dict)

    def process(self, name: str) -> Process:
        """Return the process called *name*, started when it is asked for first."""
        if name not in self._processes:
            python = self.peers_python if name in PEERS else sys.executable
            self._processes[name] = self.stack.enter_context(Process(python, self.folder, self.device))
        return self._processes[name]

    def open(self, name: str) -> None:
        """Start a program; one that is not installed, or fails, is remembered as absent."""
        program = PROGRAMS[name]
        say(f"starting {name}")
        length = 2 + self.effort.turns * (1 + self.frames(program))
        try:
            answer = self.process(program.worker).ask(
                "open", key=name, program=program.kind, objects=program.objects, size=program.size, length=length
            )
        except WorkerError as error:
            if name not in PEERS:
                raise
            answer = {"absent": f"failed: {error}"}
        if "absent" in answer:
            self.absent[name] = answer["absent"]
            say(f"{name}: {self.absent[name]}")
            return
        self.turns[name] = []
        if "version" in answer:
            self.versions[PEERS[name]] = answer["version"]

    def frames(self, program: Program) -> int:
        """Return how many frames count in a turn of *program*."""
        return self.effort.frames[program.kind] * SHORTER[self.device]

    def turn(self, name: str) -> None:
        """Let a program take one turn."""
        if name in self.turns:
            self.turns[name].append(self.take(name, self.frames(PROGRAMS[name])))

    def take(self, name: str, frames: int) -> float:
        """Let a program run one frame and then *frames* more; return the mean seconds of these."""
        seconds = self.process(PROGRAMS[name].worker).ask("take", key=name, frames=1 + frames)["seconds"]
        return statistics.fmean(seconds[1:])

    def seconds(self, name: str) -> float | None:
        """Return a program's seconds per frame, None if it is absent."""
        return statistics.median(self.turns[name]) if self.turns.get(name) else None


def measure_programs(bench: Bench) -> None:
    """Let all programs take turns."""
    for name in PROGRAMS:
        bench.open(name)
    for turn in range(bench.effort.turns):
        say(f"turn {turn + 1} of {bench.effort.turns}")
        for name in PROGRAMS:
            bench.turn(name)


def measure_commands(bench: Bench) -> dict[str, Value]:
    """Run ``rvos track`` in turn with the network alone, and ``rvos --help``."""
    tracks: list[dict[str, float]] = []
    network: list[float] = []
    words = ["track", str(bench.folder / "video.mp4"), "--first-mask", str(bench.folder / "first_mask.png")]
    for number in range(bench.effort.commands):
        say(f"command {number + 1} of {bench.effort.commands}")
        network.append(bench.take("lite 3", BESIDE_COMMANDS * SHORTER[bench.device]))
        output = bench.folder / f"out{number}"
        output.mkdir()
        tracks.append(run_command([*words, "--output", str(output), "--device", bench.device, "--quiet"], output))
    helps = [run_command(["--help"])["seconds"] for _ in range(bench.effort.helps)]
    alone = statistics.median(network)
    whole = statistics.median(track["seconds"] / VIDEO for track in tracks)
    first = statistics.median(track["first"] for track in tracks)
    what = f"{VIDEO} frames, start and end included"
    memory = max(track["memory"] for track in tracks)
    return {
        "command": Value(whole / alone, f"{whole:.3f} s over {alone:.3f} s a frame; {what}"),
        "help": Value(statistics.median(helps), f"median of {len(helps)}"),
        "first_frame": Value(first, f"median of {len(tracks)}"),
        "memory": Value(memory / 1e9, f"the largest of {len(tracks)} runs of `rvos track`, {VIDEO} frames"),
    }


def gpu_memory(bench: Bench) -> Value:
    """Return what lite holds on a GPU with three objects, in a process that runs nothing else."""
    with Process(sys.executable, bench.folder, bench.device) as fresh:
        fresh.ask("open", key="lite", program="lite", objects=3)
        frames = 4 * bench.effort.frames["lite"]
        fresh.ask("take", key="lite", frames=frames)
        return Value(fresh.ask("memory")["bytes"] / 1e9, f"GPU memory that is held after {frames} frames")


def values_of(bench: Bench) -> dict[str, Value]:
    """Return the rows that come from the programs' turns."""
    seconds = {name: bench.seconds(name) for name in PROGRAMS}
    values: dict[str, Value] = {}

    def ratio(key: str, slow: str, fast: str) -> None:
        above, below = seconds[slow], seconds[fast]
        if above is None or below is None:
            reason = bench.absent.get(slow) or bench.absent.get(fast, "")
            values[key] = Value(None, "not installed" if "is not installed" in reason else reason)
        else:
            values[key] = Value(above / below, f"{above:.4g} s over {below:.4g} s a frame")

    ratio("published", "schedule", "published")
    ratio("lite", "schedule", "lite 2")
    ratio("cutie", "cutie", "lite 1")
    ratio("sam2", "sam2", "lite 1")
    for key, name in (("lite_fps", "lite 3"), ("published_fps", "published 3")):
        each = seconds[name]
        values[key] = Value(None, bench.absent[name]) if each is None else Value(1 / each, f"{each:.4g} s a frame")
    one, three = seconds["lite 1"], seconds["lite 3"]
    if one is not None and three is not None:
        values["one_more"] = Value((three - one) / 2 / one, f"{one:.4g} s with one, {three:.4g} s with three")
    return values


def floor_value(bench: Bench) -> Value:
    """Return lite's time over its floor."""
    bottom = bench.process("rvos").ask("floor", objects=2)
    seconds = bench.seconds("lite 2")
    if seconds is None:
        return Value(None, bench.absent["lite 2"])
    return Value(
        seconds / bottom["seconds"],
        f"{seconds:.4g} s over {bottom['seconds']:.4g} s: {bottom['operations'] / 1e9:.1f} G operations at "
        f"{bottom['matmul_rate'] / 1e9:.0f} G/s, {bottom['bytes'] / 1e6:.0f} MB at "
        f"{bottom['copy_rate'] / 1e9:.1f} GB/s",
    )


def say(line: str) -> None:
    """Print progress."""
    print(line, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer frames and turns; writes nothing")
    parser.add_argument("--frames", help="a video or folder of frames in place of the demo clip")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument("--peers-python", default=sys.executable, help="the Python that has the peers")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md", help="whose table the full run writes")
    parser.add_argument("--images", type=Path, default=HERE / "images", help="where the full run's picture goes")
    return parser.parse_args()


def main() -> int:
    """Measure, print the table, and after a full run write it down."""
    options = arguments()
    start = time.perf_counter()
    try:
        values, device = run(options)
    except WorkerError as error:
        say(f"error: {error}")
        return 1
    missed = [
        row.title
        for row in ROWS
        if (value := values.get(row.key)) and value.number is not None and row.met(device, value.number) is False
    ]
    say(f"{time.perf_counter() - start:.0f} s; {len(missed)} targets missed{': ' if missed else ''}{'; '.join(missed)}")
    return 0


def run(options: argparse.Namespace) -> tuple[dict[str, Value], str]:
    """Measure everything, print the table, write it down after a full run; return the values and their device."""
    device = options.device or default_device()
    effort = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory(prefix="rvos-speed-") as scratch, ExitStack() as stack:
        bench = Bench(Path(scratch), device, effort, options.peers_python, stack)
        say("preparing frames and weights")
        rvos = bench.process("rvos")
        rvos.ask("prepare", frames=options.frames, length=VIDEO)
        measure_programs(bench)
        values = measure_commands(bench)
        values |= {**values_of(bench), "floor": floor_value(bench)}
        if device == "cuda":
            values["memory"] = gpu_memory(bench)
        length = f"{effort.turns} turns, {effort.commands} commands of {VIDEO} frames."
        text = f"{conditions(rvos.ask('machine'), bench.versions, length)}\n\n{table(device, values)}"
        print(text, flush=True)
        if not options.quick:
            picture = options.images / f"growth-{device}.png"
            growth = measure_growth(rvos, picture.with_suffix(".csv"), say, times=SHORTER[device])
            if draw_growth(growth, picture, f"lite, {device}, 854x480 frames", say):
                place = os.path.relpath(picture, options.readme.parent)
                text += f"\n\n![How cost grows with frames, objects and size]({Path(place).as_posix()})"
            write_section(options.readme, device, text)
    return values, device


if __name__ == "__main__":
    sys.exit(main())
