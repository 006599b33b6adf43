"""Every option of rvos, its default and its bounds, written once.

Enters: nothing. Leaves: frozen dataclasses that Python callers, the command line and the weights file share.
``ModelConfig`` travels inside the weights; the other two say how one run behaves.
"""

from __future__ import annotations

import json
import operator
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from rvos_cli.errors import UsageError, WeightsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LITE_MEAN = (127 / 255,) * 3
LITE_STD = (128 / 255,) * 3

DEFAULT_WEIGHTS = "lite"
MAX_OBJECT_ID = 254  # 255 means 'ignore' in DAVIS masks
MIN_SIZE, MAX_SIZE = 64, 2048


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Which network a weights file holds.

    Args:
        trunk: ``resnet34``, ``resnet50``, ``resnet101``, ``vgg16``, or ``tf_efficientnet_lite0`` to
            ``tf_efficientnet_lite4`` as timm names them.
        hidden_size: channels of the coarsest ConvLSTM; the finer ones have 1/2, 1/4 and 1/8 of it.
        kernel_size: of the skip projections, the gates and the output.
        skip_mode: how a skip feature joins the upsampled hidden state.
        spatial: object i sees the state of object i-1 (paper, section 3.2).
        temporal: object i sees its own hidden state of the last frame.
        mask_input: the decoder has mask inputs (one-shot); without them only discovery is possible.
        slots: the largest number of objects of a network without matching; one with it has as many as are asked for.
        key_dim: channels of the matching keys (docs/how_it_works.md); 0 for a network without matching,
            which is the published one.
        boxes: there is a decoder that outlines the object in a box,
        points: which is told of points on and beside the object as well.
        mean, std: of the input channels, RGB, for values 0..1.
        size: the network's default short side in pixels.
    """

    trunk: str = "tf_efficientnet_lite0"
    hidden_size: int = 64
    kernel_size: int = 3
    skip_mode: Literal["concat", "sum", "mul", "none"] = "concat"
    spatial: bool = True
    temporal: bool = True
    mask_input: bool = True
    slots: int = 10
    key_dim: int = 64
    boxes: bool = False
    points: bool = False
    mean: tuple[float, float, float] = LITE_MEAN
    std: tuple[float, float, float] = LITE_STD
    size: int = 256

    @property
    def matching(self) -> bool:
        """Whether the network has the matching cue, and with it both tasks in one set of weights."""
        return self.key_dim > 0

    @property
    def can_segment(self) -> bool:
        """Whether the network finds objects without a mask."""
        return self.matching or not self.mask_input

    @property
    def can_track(self) -> bool:
        """Whether the network follows a given mask."""
        return self.mask_input

    def to_json(self) -> str:
        """Return the text that is stored with the weights."""
        values = asdict(self)
        for later in ("boxes", "points"):
            if not values[later]:
                del values[later]  # so that weights and checkpoints from before there were any stay what they are
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Read what ``to_json`` wrote.

        Raises:
            WeightsError: the text is not a configuration of this version.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            known = {field.name for field in fields(cls)}
            unknown = sorted(set(values) - known)
            if unknown:
                raise ValueError(f"unknown entries {', '.join(unknown)}")
            for name in ("mean", "std"):
                if name in values:
                    values[name] = tuple(values[name])
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            raise WeightsError(
                f"the weights' stored configuration cannot be read ({error})",
                cure="they may come from a newer rvos: upgrade, or export them again",
            ) from error


@dataclass(frozen=True, kw_only=True)
class InferenceOptions:
    """How masks are computed.

    Args:
        size: network short side in pixels, 64..2048; None takes the weights' own default.
        max_objects: most objects that ``segment`` follows at a time, 1..254.
        threshold: a pixel belongs to an object above this probability, 0 < threshold < 1.
        half: 16-bit arithmetic; None lets the device decide.
    """

    size: int | None = None
    max_objects: int = 10
    threshold: float = 0.5
    half: bool | None = None

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            UsageError: a value is out of its bounds.
        """
        for name in ("size", "max_objects"):  # numpy's numbers are none of JSON's
            value = getattr(self, name)
            if value is not None and not hasattr(value, "__index__"):
                raise UsageError(f"{name.replace('_', '-')} must be a whole number, not {value!r}")
            object.__setattr__(self, name, None if value is None else operator.index(value))
        try:
            object.__setattr__(self, "threshold", float(self.threshold))
        except (TypeError, ValueError) as error:
            raise UsageError(f"threshold must be a number, not {self.threshold!r}") from error
        if self.size is not None and not MIN_SIZE <= self.size <= MAX_SIZE:
            raise UsageError(f"size must be between {MIN_SIZE} and {MAX_SIZE}, not {self.size}")
        if not 1 <= self.max_objects <= MAX_OBJECT_ID:
            raise UsageError(f"max-objects must be between 1 and {MAX_OBJECT_ID}, not {self.max_objects}")
        if not 0 < self.threshold < 1:
            raise UsageError(f"threshold must be above 0 and below 1, not {self.threshold}")


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written: the coloured video, the palette masks, one mask per object, and whether to overwrite."""

    overlay: bool = True
    masks: bool = True
    objects: bool = True
    force: bool = False
