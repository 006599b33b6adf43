"""``rvos demo``: both modes on the clip that comes with rvos, then where to look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.config import DEFAULT_WEIGHTS
from rvos_cli.errors import InputError


def demo(
    output: Annotated[
        Path,
        options.path_option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder to write to, track/ and segment/ in it.",
            rich_help_panel=options.FILES,
        ),
    ] = Path("rvos-out/demo"),
    weights: options.Weights = DEFAULT_WEIGHTS,
    device: options.Device = "auto",
    size: options.Size = None,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Track and segment the demo clip that comes with rvos; the results of an earlier demo are replaced."""
    talk = Talk(as_json=as_json, quiet=quiet, verbose=verbose)
    from rvos_cli.outputs import is_output_folder

    clip, mask = demo_files()
    model = talk.load(weights, device=device, half=None)
    summaries = {}
    if model.config.can_track:
        with talk.progress("track") as report:
            summaries["track"] = model.track(
                clip,
                first_mask=mask,
                output=output / "track",
                size=size,
                force=force or is_output_folder(output / "track"),
                progress=report,
                notice=talk.notice,
            )
        talk.summary(summaries["track"])
    if model.config.can_segment:
        with talk.progress("segment") as report:
            summaries["segment"] = model.segment(
                clip,
                output=output / "segment",
                size=size,
                force=force or is_output_folder(output / "segment"),
                progress=report,
                notice=talk.notice,
            )
        talk.summary(summaries["segment"])
    talk.data("look at these, then give rvos a video of your own:")
    for summary in summaries.values():
        talk.data(f"  {summary.outputs['overlay']}")
    talk.document({mode: summary.to_dict() for mode, summary in summaries.items()})


def demo_files() -> tuple[Path, Path]:
    """Return the demo clip and its first mask: those in the wheel, or of the checkout.

    Raises:
        InputError: neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_demo", package.parent / "examples" / "demo"):
        clip, mask = folder / "demo.mp4", folder / "first_mask.png"
        if clip.is_file() and mask.is_file():
            return clip, mask
    raise InputError("the demo clip is missing from this installation", cure="install rvos again")
