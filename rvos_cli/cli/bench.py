"""``rvos bench``: how fast this machine is: network alone, from file to files, and stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.config import DEFAULT_WEIGHTS, MAX_OBJECT_ID, InferenceOptions

if TYPE_CHECKING:
    from rvos_cli.benchmarking import Job
    from rvos_cli.segmenter import Segmenter

ObjectCount = Annotated[
    int | None,
    typer.Option(
        "--objects",
        metavar="N",
        min=1,
        max=MAX_OBJECT_ID,
        help="Follow N made-up objects instead of the demo's own or those that are found.",
        show_default=False,
        rich_help_panel=options.NETWORK,
    ),
]
Plot = Annotated[
    Path | None,
    options.path_option(
        "--plot", metavar="FILE", help="Draw the stages as bars (.png, .svg, .pdf).", rich_help_panel=options.FILES
    ),
]


def bench(
    input: Annotated[
        Path | None,
        options.path_argument(metavar="[INPUT]", help="A video, frame folder or image.", show_default="the demo clip"),
    ] = None,
    frames: Annotated[
        int, typer.Option("--frames", min=1, help="Frames for network and stages; end to end takes the whole input.")
    ] = 30,
    objects: ObjectCount = None,
    weights: options.Weights = DEFAULT_WEIGHTS,
    device: options.Device = "auto",
    size: options.Size = None,
    max_objects: options.MaxObjects = InferenceOptions.max_objects,
    half: options.Half = None,
    plot: Plot = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Measure seconds per frame: network alone (frames in memory), end to end (file in, all outputs written), stages.

    The stages run one after the other, so they show where the work is; end to end they run at the same time.
    """
    from rvos_cli import benchmarking

    talk = Talk(as_json=as_json, quiet=quiet, verbose=verbose)
    if plot is not None:
        benchmarking.check_chart(plot)
    model = talk.load(weights, device=device, half=half)
    job = _job(model, input, objects, frames=frames, size=size, max_objects=max_objects)
    network = benchmarking.measure_network(model, job)
    with talk.progress(job.input.name) as report:
        whole = benchmarking.measure_whole(model, job, report)
    result: dict[str, Any] = {
        **_conditions(model, job),
        "network": network,
        "end_to_end": whole,
        "stages": benchmarking.measure_stages(model, job),
    }
    _tell(talk, result)
    if plot is not None:
        benchmarking.draw_chart(plot, result["stages"], title=_title(result))
        talk.data(f"plot: {plot}")
    talk.document(result)


def _job(
    model: Segmenter, input: Path | None, objects: int | None, *, frames: int, size: int | None, max_objects: int
) -> Job:
    """Decide on the video and its first mask; weights that only follow get an object where none is given."""
    from rvos_cli.benchmarking import Job, some_objects
    from rvos_cli.cli.demo import demo_files
    from rvos_cli.sources import open_source

    path, mask = demo_files() if input is None else (input, None)
    if objects is None and (mask is None or not model.config.can_track):
        mask = None
        objects = None if model.config.can_segment else 1
    if objects is None:
        return Job(input=path, mask=mask, frames=frames, size=size, max_objects=max_objects)
    with open_source(path) as source:
        made_up = some_objects((source.info.height, source.info.width), objects)
    return Job(input=path, mask=made_up, frames=frames, size=size, max_objects=max_objects)


def _conditions(model: Segmenter, job: Job) -> dict[str, Any]:
    """Return what the figures depend on."""
    import torch

    from rvos_cli.device import choose_dtype
    from rvos_cli.preprocess import network_size
    from rvos_cli.sources import open_source

    with open_source(job.input) as source:
        shape = (source.info.height, source.info.width)
    return {
        "input": str(job.input),
        "mode": "segment" if job.mask is None else "track",
        "device": model.device_reason,
        "precision": str(choose_dtype(model.device, model.half)).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "size": {"source": shape, "network": network_size(shape, job.size or model.config.size)},
        "weights": {"name": model.name, "sha256": model.sha256},
    }


def _title(result: dict[str, Any]) -> str:
    height, width = result["size"]["network"]
    objects = result["end_to_end"]["objects"]
    return (
        f"{result['weights']['name']}, {objects} object{'s' * (objects != 1)}, network {width}x{height}, "
        f"{result['precision']}, {result['device']}"
    )


def _tell(talk: Talk, result: dict[str, Any]) -> None:
    for name in ("network", "end_to_end"):
        values = result[name]
        talk.data(
            f"{name.replace('_', ' ')}: {values['seconds_per_frame'] * 1000:.1f} ms a frame, "
            f"{1 / values['seconds_per_frame']:.1f} frames/s ({values['frames']} frames, {values['objects']} objects)"
        )
    talk.detail(_title(result))
    total = sum(result["stages"].values())
    rows = [
        (stage, f"{seconds * 1000:.1f}", f"{100 * seconds / total:.0f}%") for stage, seconds in result["stages"].items()
    ]
    talk.table(("stage", "ms a frame", "share"), [*rows, ("sum", f"{total * 1000:.1f}", "")])
