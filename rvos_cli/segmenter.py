"""The facade: ``load_model()`` gives a ``Segmenter`` that can ``segment``, ``track``, ``stream`` and ``outline``.

Enters: a name or path of weights, then videos. Leaves: outputs in a folder with a ``RunSummary``, or one
``FrameMasks`` after the other. Joins sources, session and sinks; stands right below the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from rvos_cli.boxes import Boxes
from rvos_cli.config import DEFAULT_WEIGHTS, InferenceOptions, OutputOptions
from rvos_cli.device import choose_device, choose_dtype
from rvos_cli.errors import DeviceError, InputError, MaskError
from rvos_cli.following import follow
from rvos_cli.given_masks import GivenMasks, Mask, Masks, MasksByFrame, VideoMasks
from rvos_cli.model import RVOS
from rvos_cli.model.compiled import WORTH_COMPILING, CompiledRVOS
from rvos_cli.model.compiling import can_compile
from rvos_cli.model.folding import fold_norms
from rvos_cli.model.graphed import WORTH_GRAPHS, GraphedRVOS, for_gpu
from rvos_cli.model.quantized import can_quantize
from rvos_cli.outliner import Outliner
from rvos_cli.outputs import DEFAULT_ROOT, OutputFolder, run_digest
from rvos_cli.pipeline import run
from rvos_cli.points import Points
from rvos_cli.preprocess import network_input
from rvos_cli.prompts import Prompt, read_prompts
from rvos_cli.results import DOUBTFUL, FrameMasks, ObjectTally, RunSummary
from rvos_cli.session import Session
from rvos_cli.sources import FrameSource, open_source
from rvos_cli.version import __version__
from rvos_cli.weights import Weights, build_model, load_weights, require_prompts, require_task

Input: TypeAlias = str | Path | Iterable[NDArray[np.uint8]]
Progress: TypeAlias = Callable[[int, "int | None"], None]
Notice: TypeAlias = Callable[[Literal["found", "warning"], str], None]


def load_model(
    name: str | Path = DEFAULT_WEIGHTS,
    *,
    device: str | torch.device = "auto",
    half: bool | None = None,
    compiled: bool | None = None,
) -> Segmenter:
    """Load weights onto a device, ready for any number of videos.

    Args:
        name: a name that ``rvos weights list`` shows, a weights file, or a published checkpoint's folder or zip.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``, or torch's own; only ``auto`` ever chooses another.
        half: 16-bit arithmetic; None lets the device decide, and a processor compare references in 8 bits; False is
            float32 everywhere.
        compiled: whether a processor's work goes through OpenVINO, where that is installed, and a GPU's through CUDA
            graphs; None decides for each video by its length.

    Raises:
        WeightsError: the weights are missing, damaged or not of this version.
        DeviceError: the device is not there, or has not enough memory.
        UsageError: there is no device of such a name.
    """
    choice = choose_device(device)
    weights = load_weights(name)
    return Segmenter(weights, device=choice.device, device_reason=choice.reason, half=half, compiled=compiled)


class Segmenter:
    """Finds and follows objects in videos with one set of weights on one device.

    One ``Segmenter`` serves video after video, none of which sees anything of another.

    Attributes:
        name: of the weights.
        sha256: of the weights.
        config: the network's ``ModelConfig``.
        device: where it runs, as a ``torch.device``.
        device_reason: why it runs there, in a few words.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        device: torch.device,
        device_reason: str = "",
        half: bool | None = None,
        compiled: bool | None = None,
    ) -> None:
        """Build the network of *weights* on *device*.

        Raises:
            DeviceError: the GPU has not enough memory for it.
        """
        self.name, self.sha256, self.config = weights.name, weights.sha256, weights.config
        self.device, self.device_reason, self.half = device, device_reason, half
        self._weights, self._compile = weights, compiled
        self._dtype = choose_dtype(device, half)
        with _memory_errors("the network", cure="end what else uses it, or use --device cpu"):
            self._model = fold_norms(build_model(weights, device)).to(memory_format=torch.channels_last)
            if device.type == "cuda":
                self._model = for_gpu(self._model, self._dtype)
        if self.config.matching:
            self._model.matching.quantized = device.type == "cpu" and half is not False and can_quantize()
        self._compiled = CompiledRVOS(self._model, half=half)
        self._outliner = Outliner(self._model, self.device, self._dtype)

    def segment(
        self,
        input: Input,
        *,
        output: str | Path | None = None,
        size: int | None = None,
        max_objects: int = InferenceOptions.max_objects,
        threshold: float = InferenceOptions.threshold,
        overlay: bool = True,
        masks: bool = True,
        objects: bool = True,
        force: bool = False,
        progress: Progress | None = None,
        notice: Notice | None = None,
    ) -> RunSummary:
        """Find the objects of a video and follow them, in each of its shots anew; write the outputs.

        Args:
            input: a video file, a folder of images, an image, or (H, W, 3) uint8 RGB arrays of one size.
            output: the folder to write to; None means ``rvos-out/<stem of the input>``.
            size: network short side in pixels; None takes the weights' own.
            max_objects: most objects to follow at a time.
            threshold: a pixel belongs to an object above this probability.
            overlay: write ``overlay.mp4``.
            masks: write ``masks/<name>.png``.
            objects: write ``objects/<id>/<name>.png``.
            force: replace the outputs of an earlier run, once the new ones are whole.
            progress: called after each frame with (frames done, frames in all or None).
            notice: called with ``found`` or ``warning`` and one line of text for each thing worth knowing.

        Raises:
            WeightsError: these weights need a first mask.
            InputError: the input cannot be read.
            OutputError: outputs are there already, or cannot be written.
            UsageError: an option is out of its bounds.
            DeviceError: the GPU has not enough memory.
        """
        inference = InferenceOptions(size=size, max_objects=max_objects, threshold=threshold, half=self.half)
        outputs = OutputOptions(overlay=overlay, masks=masks, objects=objects, force=force)
        return self._write(input, GivenMasks(), output, inference, outputs, progress or _silent, notice or _silent)

    def track(
        self,
        input: Input,
        *,
        first_mask: Mask | None = None,
        first_boxes: Boxes | None = None,
        first_points: Points | None = None,
        frame_masks: MasksByFrame | None = None,
        output: str | Path | None = None,
        size: int | None = None,
        threshold: float = InferenceOptions.threshold,
        overlay: bool = True,
        masks: bool = True,
        objects: bool = True,
        force: bool = False,
        progress: Progress | None = None,
        notice: Notice | None = None,
    ) -> RunSummary:
        """Follow the objects of the first frame's mask, boxes or points, or of masks of any frames; write the outputs.

        Args:
            input: as for ``segment``.
            first_mask: an image file or an (H, W) array: palette or grey ids, one binary object, or RGB colours.
            first_boxes: instead, a box around each object of the first frame: (left, top, right, bottom) in pixels of
                the displayed frame. Their ids are 1, 2, ... in order, or those of a mapping.
            first_points: instead, a point (x, y) on each object of the first frame, or several: (x, y) in pixels of the
                displayed frame. Their ids are 1, 2, ... in order, or those of a mapping, in which 0 has points that are
                on none of the objects. An object that has a box, too, has both.
            frame_masks: whole masks of any frames, for objects that appear later or to correct some: a folder of PNGs
                that are named as in ``masks/`` of the results, or a mapping from the frame's index. An object that one
                does not name is not in that frame. They put right the frames before them, too. Colours are those of the
                results, others the same object throughout.
            output: as for ``segment``, and so are all the others; ``found`` tells the masks' ids at the start.

        Raises:
            WeightsError: these weights cannot follow a mask, or know no boxes or points.
            MaskError: there is no mask, or one is empty, unreadable, of another shape or of no frame, or a box or point
                is outside of the frame or names the same thing as another. Where only the end of the video tells that
                there is no such frame, that is a warning.
            InputError, OutputError, UsageError, DeviceError: as for ``segment``.
        """
        given = GivenMasks(first_mask, first_boxes, first_points, frame_masks=frame_masks)
        if given.task == "segment":  # what image readers return for a missing file
            raise MaskError("there is no first mask", cure="give a file or an array, or let segment() find the objects")
        inference = InferenceOptions(size=size, threshold=threshold, half=self.half)
        outputs = OutputOptions(overlay=overlay, masks=masks, objects=objects, force=force)
        return self._write(input, given, output, inference, outputs, progress or _silent, notice or _silent)

    def stream(
        self,
        input: Input,
        *,
        first_mask: Mask | None = None,
        first_boxes: Boxes | None = None,
        first_points: Points | None = None,
        masks: Masks | None = None,
        frame_masks: MasksByFrame | None = None,
        size: int | None = None,
        max_objects: int = InferenceOptions.max_objects,
        threshold: float = InferenceOptions.threshold,
    ) -> Iterator[FrameMasks]:
        """Yield the masks frame by frame as they are computed; memory does not grow with the video.

        Without a mask the objects are found, with any the given ones are followed.

        Args:
            input: as for ``segment``; an iterable of arrays is read one array at a time and may be endless. Some frames
                are read ahead, for cuts and, where objects are to be found, for what is in a shot; but not of an
                iterator, which may be live and is taken as one shot.
            first_mask: as for ``track``, and so are *first_boxes* and *first_points*.
            masks: masks of later frames, for objects that appear late or to correct one: a mapping from the frame's
                index, or an iterable with one mask, or None or an array without an object, for each frame. In masks of
                colours, a colour is the same object throughout.
            frame_masks: as for ``track``; instead of ``masks``, which say nothing of objects that they do not name, nor
                of frames before, which wait for it here (but not those of an iterator).
            size: network short side in pixels; None takes the weights' own.
            max_objects: most objects to follow at a time, where no mask is given.
            threshold: a pixel belongs to an object above this probability.

        Raises:
            WeightsError: the weights cannot do what is asked.
            UsageError: an option is out of its bounds, or ``masks`` is a single mask. These two are raised at once, all
                others when the first frame is asked for.
            InputError: the input cannot be read.
            MaskError: a mask cannot be used; one of a frame that does not come is told when all others are through.
            DeviceError: the GPU has not enough memory.
        """
        given = GivenMasks(first_mask, first_boxes, first_points, masks, frame_masks)
        options = InferenceOptions(size=size, max_objects=max_objects, threshold=threshold, half=self.half)
        self._require(given)
        return self._frames(input, given, options)

    def _frames(self, input: Input, given: GivenMasks, options: InferenceOptions) -> Iterator[FrameMasks]:
        frames = 0
        with _memory_errors(), ExitStack() as stack:
            source = stack.enter_context(open_source(input))
            masks = VideoMasks(given, source)
            if masks.whole:  # and so may be read at any time
                masks.check()
            session = self._session(options, source.info.frames, discover=given.task == "segment")
            stack.callback(session.close)
            live = source.info.kind == "arrays" and source.info.frames is None  # the next may need this one's masks
            for frame in follow(iter(source), session, masks, outliner=self._outliner, live=live):
                frames = frame.index + 1
                yield frame
                del frame
            for line in masks.unused(frames):
                raise MaskError(line, cure="frames are counted from 0")

    def outline(
        self,
        image: str | Path | NDArray[np.uint8],
        boxes: Boxes | None = None,
        points: Points | None = None,
        *,
        threshold: float = InferenceOptions.threshold,
    ) -> NDArray[np.uint8]:
        """Return a mask of the objects in boxes, or at points, as ``first_boxes`` and ``first_points`` would.

        It may be one of ``masks``, too: a new object then wants an id that none has yet, as a mapping gives.

        Args:
            image: (H, W, 3) uint8 RGB, an image file, or what else has a first frame.
            boxes: as ``first_boxes`` of ``track``.
            points: as its ``first_points``.
            threshold: a pixel belongs to an object above this probability.

        Returns:
            (H, W) uint8, 0 = background, k = object k.

        Raises:
            WeightsError: these weights know no boxes, or no points.
            MaskError: a box or point is outside of the picture or names the same thing as another.
            UsageError: what is given is no boxes or points, or an option is out of its bounds.
            InputError: the image cannot be read.
            DeviceError: the GPU has not enough memory.
        """
        prompts, options = read_prompts(boxes, points), InferenceOptions(threshold=threshold)
        self._require_prompts(prompts)
        with _memory_errors(), open_source([image] if isinstance(image, np.ndarray) else image) as source:
            return self._outliner.outline(next(iter(source)).image, prompts, options.threshold).labels

    def _require(self, given: GivenMasks) -> None:
        require_task(self._weights, given.task)
        self._require_prompts(given.prompts)

    def _require_prompts(self, prompts: Mapping[int, Prompt]) -> None:
        if prompts:
            require_prompts(self._weights, points=any(prompt.on or prompt.beside for prompt in prompts.values()))

    def _session(self, options: InferenceOptions, frames: int | None, *, discover: bool) -> Session:
        network, faster = self._networks(frames)
        return Session(
            network, options=options, device=self.device, dtype=self._dtype, discover=discover, faster=faster
        )

    def _networks(self, frames: int | None) -> tuple[RVOS, CompiledRVOS | GraphedRVOS | None]:
        """Return what a video of so many *frames*, None if nobody knows, begins with, and what takes over in time."""
        if self._compile is False:
            return self._model, None
        gpu = self.device.type == "cuda"
        if not gpu and (self.device.type != "cpu" or not can_compile()):
            return self._model, None
        if self._compile and not gpu:
            return self._compiled, None
        pays = self._compile or frames is None or frames >= (WORTH_GRAPHS if gpu else WORTH_COMPILING)
        if not pays:
            return self._model, None
        return self._model, GraphedRVOS(self._model, self._dtype, network_input) if gpu else self._compiled

    def _write(
        self,
        input: Input,
        given: GivenMasks,
        output: str | Path | None,
        inference: InferenceOptions,
        options: OutputOptions,
        progress: Progress,
        notice: Notice,
    ) -> RunSummary:
        """Run one video from its source to its outputs and return the summary that was written last."""
        self._require(given)
        with ExitStack() as stack:
            source = stack.enter_context(open_source(input))
            masks = VideoMasks(given, source)
            ids, warnings = masks.check()
            inputs = [path for path in (source.info.path, *masks.files()) if path is not None]
            target = DEFAULT_ROOT / source.info.stem if output is None else output
            folder = stack.enter_context(OutputFolder(target, options=options, inputs=inputs))
            digest = ""
            if source.info.path is not None and given.paths is not None:  # what is in memory cannot be known again
                digest = self.digest(source.info.path, *given.paths, inference=inference, outputs=options)
            if given.task == "track":
                notice("found", found_line(ids))
            for line in warnings:
                notice("warning", line)
            session = self._session(inference, source.info.frames, discover=given.task == "segment")
            stack.callback(session.close)
            # How sure published networks are when they are right has not been measured.
            tally = ObjectTally(ids, doubtful=DOUBTFUL if self.config.matching else 0.0)
            start = time.perf_counter()
            with _memory_errors():
                followed = partial(follow, session=session, masks=masks, outliner=self._outliner)
                frames, trouble = _run(source, followed, folder, tally, progress)
            seconds = time.perf_counter() - start
            trouble = [*source.warnings, *trouble, *masks.unused(frames)]
            for line in trouble:
                notice("warning", line)
            summary = RunSummary(
                input=source.info.name,
                frames=frames,
                fps=None if source.info.rate is None else float(source.info.rate),
                size=(source.info.height, source.info.width),
                objects=tally.objects(),
                outputs=folder.outputs,
                seconds=round(seconds, 3),
                frames_per_second=round(frames / seconds, 3),
                device=str(self.device),
                weights=self.name,
                weights_sha256=self.sha256,
                version=__version__,
                mode=given.task,
                warnings=(*warnings, *trouble),
                options=self._used(inference),
                digest=digest,
                path="" if source.info.path is None else str(source.info.path.resolve()),
                doubts=tally.doubts(),
            )
            folder.commit(summary)
        return summary

    def _used(self, options: InferenceOptions) -> dict[str, float]:
        """Return the options as they came out, defaults and device decided."""
        return {
            "size": options.size or self.config.size,
            "max_objects": options.max_objects,
            "threshold": options.threshold,
            "half": self._dtype != torch.float32,
        }

    def digest(
        self,
        input: Path,
        first_mask: Path | None,
        frame_masks: Path | None = None,
        *,
        inference: InferenceOptions,
        outputs: OutputOptions,
    ) -> str:
        """Name the work that these weights would do on *input*; see ``outputs.run_digest``."""
        return run_digest(
            input,
            first_mask=first_mask,
            frame_masks=frame_masks,
            mode=GivenMasks(first_mask, frame_masks=frame_masks).task,
            inference=inference,
            outputs=outputs,
            weights_sha256=self.sha256,
        )


def _run(
    source: FrameSource,
    followed: Callable[..., Iterator[FrameMasks]],
    folder: OutputFolder,
    tally: ObjectTally,
    progress: Progress,
) -> tuple[int, list[str]]:
    """Drive the frames, which are *followed*, into the sinks; return how many there were and what the sinks warn of."""

    def on_step(index: int) -> None:
        progress(index + 1, source.info.frames)

    with ExitStack() as stack:
        sinks = [stack.enter_context(sink) for sink in folder.sinks(source.info, tally.expected)]
        frames = run(source, partial(followed, on_step=on_step), sinks, on_frame=tally.add)
        if not frames:
            raise InputError(f"{source.info.name} holds no frame that can be decoded", cure="check that it plays")
    return frames, [line for sink in sinks for line in sink.warnings]


def found_line(ids: Sequence[int]) -> str:
    """Return ``found N objects: ids 1, 2, ...``, or of a single one ``found 1 object: id 1``."""
    plural = "s" * (len(ids) != 1)
    numbers = f": id{plural} {', '.join(map(str, ids))}" if ids else ""
    return f"found {len(ids)} object{plural}{numbers}"


def _silent(*_: object) -> None:
    """Take any report and say nothing."""


@contextmanager
def _memory_errors(
    job: str = "this", *, cure: str = "use a smaller --size, fewer --max-objects, --half, or --device cpu"
) -> Iterator[None]:
    """Give a device that runs out of memory its name and its cure."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise DeviceError(f"the GPU has not enough memory for {job}", cure=cure) from error
