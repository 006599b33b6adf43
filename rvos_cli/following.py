"""From the frames of a video to the same with the labels of all that is followed, once: the recurrence in a loop.

Enters: frames in order, a session, the masks that were given. Leaves: ``FrameMasks``, each when nothing that is known
beforehand can change it any more. Used by ``segmenter.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rvos_cli.foresight import Foresight
from rvos_cli.given_masks import VideoMasks
from rvos_cli.hindsight import HindsightRules, with_hindsight
from rvos_cli.outliner import Outliner
from rvos_cli.pipeline import with_labels
from rvos_cli.results import FrameMasks
from rvos_cli.session import Session
from rvos_cli.sources import Frame


def follow(
    frames: Iterator[Frame],
    session: Session,
    masks: VideoMasks,
    *,
    outliner: Outliner,
    live: bool = False,
    on_step: Callable[[int], None] = lambda index: None,
) -> Iterator[FrameMasks]:
    """Yield frames with their labels.

    Args:
        frames: of a video, in order.
        session: follows them.
        masks: those that were given.
        outliner: makes masks of boxes and points.
        live: whether a frame neither waits for the next one nor may be looked at before its turn.
        on_step: called with the index of each frame that has been followed, before it leaves.
    """
    if live:
        return _followed(frames, session, masks, outliner, on_step)
    rules = HindsightRules()
    frames = session.looking_ahead(frames, Foresight(masks, rules.room))
    return with_hindsight(_followed(frames, session, masks, outliner, on_step), masks, session.back, rules)


def _followed(
    frames: Iterator[Frame],
    session: Session,
    masks: VideoMasks,
    outliner: Outliner,
    on_step: Callable[[int], None],
) -> Iterator[FrameMasks]:
    for frame in frames:
        mask, outlined = masks.labels(frame.index), dict[int, float]()
        if masks.prompts and frame.index == 0:
            outlines = outliner.outline(frame.image, masks.prompts, session.options.threshold)
            mask, outlined = outlines.labels, outlines.confidence
        labels = session.step(frame.image, mask, whole=masks.whole)
        on_step(frame.index)
        yield with_labels(frame, labels, session.confidence | outlined)
        del frame, labels  # they must not stay alive while the next one is awaited
