"""``rvos track``: a video and a mask, boxes or points of its first frame in, the followed objects out."""

from __future__ import annotations

from collections.abc import Sequence

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.config import DEFAULT_WEIGHTS, InferenceOptions
from rvos_cli.errors import UsageError
from rvos_cli.points import NOTHING, Point


def track(
    input: options.Input,
    first_mask: options.FirstMask = None,
    first_box: options.FirstBoxes = None,
    first_point: options.FirstPoints = None,
    negative_point: options.NegativePoints = None,
    frame_masks: options.FrameMasks = None,
    output: options.Output = None,
    force: options.Force = False,
    overlay: options.Overlay = True,
    masks: options.Masks = True,
    objects: options.Objects = True,
    weights: options.Weights = DEFAULT_WEIGHTS,
    device: options.Device = "auto",
    size: options.Size = None,
    threshold: options.Threshold = InferenceOptions.threshold,
    half: options.Half = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Follow the objects of the first frame's mask, boxes or points, or of edited masks of any frames."""
    told = {"--first-box": first_box, "--first-point": first_point, "--negative-point": negative_point}
    if first_mask is None and not first_box and not first_point and frame_masks is None:
        raise UsageError(
            "there is no mask", cure="give --first-mask, --first-box, --first-point, or a folder with --frame-masks"
        )
    for name, values in told.items():
        if first_mask is not None and values:
            raise UsageError(f"--first-mask and {name} are both given", cure="give one of them")
    InferenceOptions(size=size, threshold=threshold)
    talk = Talk(as_json=as_json, quiet=quiet, verbose=verbose)
    model = talk.load(weights, device=device, half=half)
    with talk.progress(input.name or str(input)) as report:
        summary = model.track(
            input,
            first_mask=first_mask,
            first_boxes=first_box or None,
            first_points=_points(first_point or [], negative_point or []) or None,
            frame_masks=frame_masks,
            output=output,
            size=size,
            threshold=threshold,
            overlay=overlay,
            masks=masks,
            objects=objects,
            force=force,
            progress=report,
            notice=talk.notice,
        )
    talk.summary(summary)
    talk.document(summary.to_dict())


def _points(on: Sequence[tuple[Point, ...]], beside: Sequence[tuple[Point, ...]]) -> dict[int, list[Point]]:
    """Return the points on objects 1, 2, ..., and those on none of them."""
    points = {identity: list(some) for identity, some in enumerate(on, start=1)}
    return points | ({NOTHING: [point for some in beside for point in some]} if beside else {})
