"""``rvos segment``: videos in, found and followed objects out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from rvos_cli.cli import options
from rvos_cli.cli.console import Talk
from rvos_cli.config import DEFAULT_WEIGHTS, InferenceOptions

if TYPE_CHECKING:
    from pathlib import Path

    from rvos_cli.segmenter import Segmenter


def segment(
    inputs: options.Inputs,
    output: options.Output = None,
    force: options.Force = False,
    overlay: options.Overlay = True,
    masks: options.Masks = True,
    objects: options.Objects = True,
    weights: options.Weights = DEFAULT_WEIGHTS,
    device: options.Device = "auto",
    size: options.Size = None,
    max_objects: options.MaxObjects = InferenceOptions.max_objects,
    threshold: options.Threshold = InferenceOptions.threshold,
    half: options.Half = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Find the objects of a video and follow them, with no mask given (zero-shot).

    Of several inputs each gets a folder of its own below the output folder.
    """
    InferenceOptions(size=size, max_objects=max_objects, threshold=threshold)
    talk = Talk(as_json=as_json, quiet=quiet, verbose=verbose)
    model = talk.load(weights, device=device, half=half)
    keywords: dict[str, Any] = {
        "size": size,
        "max_objects": max_objects,
        "threshold": threshold,
        "overlay": overlay,
        "masks": masks,
        "objects": objects,
        "force": force,
    }
    if len(inputs) == 1:
        talk.document(segment_one(model, inputs[0], output=output, talk=talk, **keywords))
        return
    from rvos_cli.batch import failure_line
    from rvos_cli.batch_plan import distinct_stems
    from rvos_cli.outputs import DEFAULT_ROOT

    documents, failed = [], 0
    root = DEFAULT_ROOT if output is None else output
    for path, stem in zip(inputs, distinct_stems(inputs), strict=True):
        try:
            documents.append(segment_one(model, path, output=root / stem, talk=talk, **keywords))
        except Exception as error:  # whatever happens to one input must not cost the others
            failed += 1
            talk.error(f"{path}: {failure_line(error)}", of=error)
            documents.append({"input": str(path), "error": failure_line(error)})
    talk.document(documents)
    if failed:
        talk.error(f"{failed} of {len(inputs)} inputs failed")
        raise typer.Exit(3)


def segment_one(model: Segmenter, path: Path, *, output: Path | None, talk: Talk, **keywords: Any) -> dict[str, Any]:
    """Run one input, print its summary and return it as plain values."""
    with talk.progress(path.name or str(path)) as report:
        summary = model.segment(path, output=output, progress=report, notice=talk.notice, **keywords)
    talk.summary(summary)
    return summary.to_dict()
