"""``rvos track``: a video and a mask or boxes of its first frame in, the followed objects out."""

from __future__ import annotations

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.config import DEFAULT_WEIGHTS, InferenceOptions
from rvos_cli.errors import UsageError


def track(
    input: options.Input,
    first_mask: options.FirstMask = None,
    first_box: options.FirstBoxes = None,
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
    """Follow the objects of the first frame's mask or boxes, or of edited masks of any frames, through the video."""
    if first_mask is None and not first_box and frame_masks is None:
        raise UsageError("there is no mask", cure="give --first-mask, --first-box, or a folder with --frame-masks")
    if first_mask is not None and first_box:
        raise UsageError("--first-mask and --first-box are both given", cure="give one of them")
    InferenceOptions(size=size, threshold=threshold)
    talk = Talk(as_json=as_json, quiet=quiet, verbose=verbose)
    model = talk.load(weights, device=device, half=half)
    with talk.progress(input.name or str(input)) as report:
        summary = model.track(
            input,
            first_mask=first_mask,
            first_boxes=first_box or None,
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
