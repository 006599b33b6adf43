"""One video's recurrence: frames enter in order, label maps leave.

Stands between preprocess and postprocess, once per frame. Its memory does not grow: the recurrent state and a few
reference frames are all that is carried on (``trackers.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rvos_cli.ahead import Ahead, AheadOnGPU, ReadAhead
from rvos_cli.camera import Camera, CameraRules
from rvos_cli.config import InferenceOptions
from rvos_cli.foresight import Coming, Foresight
from rvos_cli.matching_tracker import MatchingTracker
from rvos_cli.model import RVOS
from rvos_cli.model.compiled import CompiledRVOS
from rvos_cli.model.graphed import GraphedRVOS
from rvos_cli.opening import Look, OpeningRules, choose
from rvos_cli.preprocess import frame_tensor, network_size, picture_tensor
from rvos_cli.shots import Cut, FrameT, ShotRules, Shots, goes_on
from rvos_cli.sight import Labels, Looking, LookOnGPU, Seen
from rvos_cli.small_copies import Small
from rvos_cli.threads import torch_threads
from rvos_cli.trackers import EncodedFrame, PublishedTracker, Tracker, beside_each_other
from rvos_cli.views import View, ViewRules, plain_view, view_of

FRAMES_MEANWHILE = 4  # these, beside which it is compiled, take longer; then the rest is waited for
AT_ONCE = 4  # frames that a GPU's graph encodes: of few kernels each would fill it
EARLIER_SHOTS = 3  # that may go on; of more, the oldest are forgotten


class Session:
    """Follows the objects of one video; ``step`` takes its frames one after the other."""

    rules = OpeningRules()
    shot_rules = ShotRules()
    view_rules = ViewRules()
    camera_rules = CameraRules()

    def __init__(
        self,
        model: RVOS,
        *,
        options: InferenceOptions | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        first_mask: Labels | None = None,
        discover: bool | None = None,
        faster: CompiledRVOS | GraphedRVOS | None = None,
    ) -> None:
        """Start a video.

        Args:
            model: the network, in eval mode, on *device*.
            options: size, threshold and number of objects.
            device: where the network is; None is the CPU.
            dtype: float32, or a 16-bit type for autocast.
            first_mask: (H, W) uint8 labels of the first frame.
            discover: whether to look for objects; None does without a first mask. Without either there is nothing to
                follow until ``step`` is given a mask.
            faster: a form of *model* that takes over after ``FRAMES_MEANWHILE`` frames, in which it is compiled; always
                after so many, since masks must not depend on how busy the machine is. One with graphs is of this video
                alone.
        """
        self.options = options or InferenceOptions()
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self._first_mask = first_mask
        self._discover = first_mask is None if discover is None else discover
        self._faster, self._frames = faster, 0
        self._since_cut = 0  # frames
        self.confidence: dict[int, float] = {}  # of each object in the last step's frame, 0..1; 1 of those given in it
        self._model = model
        self._at_once = AT_ONCE
        self._encode: Ahead[EncodedFrame] | AheadOnGPU[EncodedFrame]
        if self.device.type == "cuda":
            self._encode = AheadOnGPU(self._encoded_at_once, self.device)
        else:
            self._encode = Ahead(self._encoded, self._begin)
        self._tracker = self._new_tracker()
        self._earlier: list[tuple[Small, Tracker]] = []  # how shots ended, and what they held
        self._foresight: Foresight | None = None
        self._place = -1  # of the last step's frame in the video
        self._opening: Seen | None = None  # what is in a shot's first frame, if that is known before its turn
        self._announced = False  # whether frames are told before their turn

    @property
    def objects(self) -> tuple[int, ...]:
        """The ids that are followed now, in the order of their slots."""
        return self._tracker.ids

    def looking_ahead(self, frames: Iterator[FrameT], foresight: Foresight | None = None) -> Iterator[FrameT]:
        """Yield *frames*, all of a video, for ``step``, each after a look at those that come then.

        It is for cuts, and if objects are to be found, at the first ones, and after a cut at those behind it; and each
        frame is encoded beside the step of the one before. With *foresight*, the next one with a whole mask is read
        before its turn, too.
        """
        self._foresight = foresight
        ahead = ReadAhead(frames)
        shots = Shots(ahead, self.shot_rules if self._model.config.matching else None)
        self.look_ahead(shots.coming(self._frames_ahead))
        # Of a published network nearly all is encoding, and half of a processor's threads would rest.
        many = self.device.type == "cpu" and self._model.config.matching and torch.get_num_threads() > 1
        self._announced = many or self.device.type == "cuda"
        cut = None
        while ahead:
            if cut is not None:
                self._begin_shot(shots, cut)
            cut = shots.cut(1)
            if cut is not None and cut.lit and self._tracker.ids:
                cut = None  # there is somebody, who is pale or small
            if self._announced and not self._idle:
                self._announce(ahead, follows=cut is None)
            if foresight is not None and isinstance(self._tracker, MatchingTracker) and self._tracker.foresees:
                foresight.look(self._place + 1, ahead)
            yield shots.take()  # and keep no name for it: it must not stay alive while the next one is awaited

    def _announce(self, ahead: ReadAhead[FrameT], *, follows: bool) -> None:
        """Tell of the frame after the next, if it *follows*; on a GPU of who reads it, when the next is under way.

        With graphs, a few frames behind it are read and encoded with it. Those behind a cut may be for nothing.
        """
        network, count = self._network(self._frames + 1), int(follows)
        view, camera = self._view(ahead.peek(1)[0].image), self._tracker.camera
        if camera is not None:
            view = camera.coming
        if isinstance(self._encode, AheadOnGPU):
            moving = camera is not None and camera.closer
            count *= self._at_once if isinstance(network, GraphedRVOS) and not moving else 1
            self._encode.announce(lambda: [(frame.image, network, view) for frame in ahead.peek(count)])
            return
        for following in ahead.peek(1 + count)[1:]:
            self._encode.announce(following.image, network, view)

    def _begin_shot(self, shots: Shots[FrameT], cut: Cut) -> None:
        """Go on with an earlier shot if the next frame may follow it; or look for objects anew, or for the given."""
        shots.begin()
        self._since_cut = 0
        first, ended = shots.coming(1)[0], self._tracker
        ended.pause()
        if cut.faded and isinstance(ended, MatchingTracker):
            ended = ended.behind_fade()
        again = next((shot for shot in reversed(self._earlier) if self._goes_on(*shot, cut, first)), None)
        if again is not None and not self._discover and not set(ended.ids) <= set(again[1].ids):
            again = None  # it would forget whoever was given since
        others = [shot for shot in self._earlier if shot is not again]
        self._earlier = [*others, (cut.end, ended)][-EARLIER_SHOTS:]
        if again is not None:
            self._tracker = again[1]
        elif not self._discover and isinstance(ended, MatchingTracker):
            fits = self._view(first).holds(first, None)
            self._tracker = (ended if fits else self._in_whole_frames()).behind_cut()
        else:
            self._tracker = self._new_tracker(ended.newest_id)
            self.look_ahead(shots.coming(self._frames_ahead))
        self._tracker.newest_id = max(ended.newest_id, self._tracker.newest_id)
        self._tracker.model = self._network(self._frames)

    def _goes_on(self, end: Small, tracker: Tracker, cut: Cut, first: NDArray[np.uint8]) -> bool:
        """Say whether a shot's *first* frame may follow one that had this *end* and was seen by this tracker."""
        fits = tracker.view is None or tracker.view.holds(first, None)
        return fits and goes_on(end, cut.begin, self.shot_rules)

    @torch.inference_mode()
    def look_ahead(self, images: Sequence[NDArray[np.uint8]]) -> None:
        """Find the objects in the best of the first frames of a shot and follow them back to the first one.

        Optional, before the first ``step``: without it objects are found in the first frame.

        Args:
            images: the first frames, as many as ``opening.OpeningRules`` asks for or as there are: (H, W, 3) uint8 RGB.
        """
        places = range(0, min(len(images), self._frames_ahead), self.rules.every)
        if not places:
            return
        view = view_of([images[n] for n in places], self.view_rules)
        with self._arithmetic(), self._threads():
            trackers = [self._new_tracker(self._tracker.newest_id, view) for _ in places]
            frames = beside_each_other([self._encoded(images[n], self._model, view) for n in places])
            found = [tracker.step(frame, None) for tracker, frame in zip(trackers, frames, strict=True)]
            best = choose([Look(seen.logits, self.options.threshold) for seen in found], self.rules)
            self._tracker, self._opening = trackers[best], found[best]
            self._tracker.discover = False  # a tracker knows no direction; the way back is followed, not searched
            for image in reversed(images[: places[best]]):
                self._opening = self._tracker.step(self._encoded(image, self._model, view), None)
            self._tracker.discover = True

    @torch.inference_mode()
    def step(self, image: NDArray[np.uint8], mask: Labels | None = None, *, whole: bool = False) -> Labels:
        """Advance one frame.

        Args:
            image: (H, W, 3) uint8 RGB; the same size in every frame.
            mask: (H, W) uint8 labels of objects to follow from this frame on, known or new.
            whole: whether the mask says all of the frame: what it does not name is not in there.

        Returns:
            (H, W) uint8, 0 = background, k = object k; what *mask* names is where it says, and nowhere else.
        """
        self._since_cut += 1
        self._place += 1
        first, self._first_mask = self._first_mask, None
        mask = mask if first is None else first
        size = (image.shape[0], image.shape[1])
        idle = self._idle
        self.confidence = {}
        if idle and (mask is None or not mask.any()):
            return np.zeros(size, np.uint8)
        labels = self._followed(image, mask, whole=whole)
        if mask is not None and (idle or whole):
            labels = np.array(mask, np.uint8)  # it says where everything is, and so where nothing is
        elif mask is not None:
            labels = np.where(mask > 0, mask, np.where(np.isin(labels, mask), 0, labels))  # all of what it names
        if mask is not None:
            given = dict.fromkeys(np.unique(mask[mask > 0]).tolist(), 1.0)
            self.confidence = given if idle or whole else self.confidence | given
        if not self._view(image).area.whole:
            self._tracker.note_shown(image, labels)
        return labels

    @torch.inference_mode()
    def back(self, images: Sequence[NDArray[np.uint8]]) -> Iterator[tuple[Labels, dict[int, float]]]:
        """Yield labels (H, W) and confidence in frames before the last step's, through which its objects go back.

        Args:
            images: (H, W, 3) uint8 RGB, the newest first; those of other shots are left out, and published networks,
                which remember no frame, follow nobody back.
        """
        if not isinstance(self._tracker, MatchingTracker):
            return
        self._encode.settle()
        tracker = self._tracker.turned()
        tracker.model, tracker.look = self._model, Seen  # what is faster may be at the next frame
        for image in images[: self._since_cut - 1]:
            view = self._look(tracker, image)
            with self._arithmetic(), self._threads():
                seen = tracker.step(self._encoded(image, self._model, view), None)
                labels, confidence = view.looked_at.framed(seen.labels()), _confidence(tracker, seen)
                self._seen_by(tracker, seen)
            yield labels, confidence

    def _followed(self, image: NDArray[np.uint8], mask: Labels | None, *, whole: bool) -> Labels:
        """Advance one frame and return the network's own labels."""
        with self._arithmetic(), self._threads():
            if not self._view(image).holds(image, mask):
                self._tracker, self._opening = self._in_whole_frames(), None
            network, first = self._switch(image), not self.objects
            view = self._look(self._tracker, image, mask, whole=whole)
            seen, self._opening = self._opening, None
            if seen is None or mask is not None:
                if isinstance(self._tracker, MatchingTracker) and self._foresight is not None:
                    foresees, shown = self._tracker.foresees, self._view(image)
                    self._tracker.coming = self._foresight.coming(shown, self._coming) if foresees else None
                frame = self._encode(image, network, view)
                seen = self._tracker.step(frame, None if mask is None else view.looked_at.of(mask), whole=whole)
                if first and mask is not None:
                    self._remember_whole(image, mask, view)
            self.confidence = _confidence(self._tracker, seen)
            self._seen_by(self._tracker, seen, mask, whole=whole)
            return view.looked_at.framed(seen.labels())

    def _look(
        self, tracker: Tracker, image: NDArray[np.uint8], mask: Labels | None = None, *, whole: bool = False
    ) -> View:
        """Return how a tracker looks at a frame, from where its camera is if it looks for nobody, and let it."""
        view = self._view(image)
        if self._discover or not isinstance(tracker, MatchingTracker):
            return view
        if tracker.camera is None:
            tracker.camera = Camera(view, self._grid(view), self.camera_rules)
        if mask is not None:
            tracker.camera.point(mask, whole=whole)
        tracker.look_at(tracker.camera.view.looked_at)
        return tracker.camera.view

    def _seen_by(self, tracker: Tracker, seen: Seen, mask: Labels | None = None, *, whole: bool = False) -> None:
        """Tell a tracker's camera what was seen of those of whom the frame's mask says nothing."""
        if tracker.camera is not None:
            named = set() if mask is None else set(np.unique(mask).tolist())
            told = set(tracker.ids) if whole and mask is not None else named
            cells = zip(tracker.ids, seen.cells, strict=True)
            tracker.camera.follow({one: inside for one, inside in cells if one not in told})

    def _remember_whole(self, image: NDArray[np.uint8], mask: Labels, view: View) -> None:
        """Remember all of the first frame, too, if its *view* is of a part."""
        whole = self._view(image)
        if view is not whole and isinstance(self._tracker, MatchingTracker):
            self._tracker.remember_first(self._encoded(image, self._model, whole), whole.area.of(mask))

    def _coming(self, image: NDArray[np.uint8], labels: Labels) -> Coming | None:
        """Return what a frame that is not followed yet says, by its labels."""
        camera = self._tracker.camera
        view = self._view(image) if camera is None else camera.around(labels)
        self._encode.settle()
        keys = self._encoded(image, self._model, view).features.keys
        return None if keys is None else Coming(keys, view.looked_at.of(labels))

    def _view(self, image: NDArray[np.uint8]) -> View:
        """Return how this tracker's frames are looked at; *image*, its first, tells if nothing has told before."""
        if self._tracker.view is None:
            matching = self._model.config.matching  # published networks look at frames as they are
            self._tracker.view = view_of([image], self.view_rules) if matching else plain_view(image)
        return self._tracker.view

    @torch.inference_mode()
    def _in_whole_frames(self) -> MatchingTracker:
        """Return who goes on in whole frames, since the bars end or a mask names something in them.

        Every object is followed on from the frame in which it was seen last.
        """
        ended = self._tracker
        assert isinstance(ended, MatchingTracker) and ended.view is not None  # published networks see whole frames
        view, tracker = ended.view.in_whole(), self._new_tracker(ended.newest_id)
        assert isinstance(tracker, MatchingTracker)
        tracker.discover, tracker.doubts, tracker.view = False, False, view
        with self._arithmetic():
            for image, labels in ended.shown_last():
                tracker.step(self._encoded(image, self._model, view), labels)
        tracker.discover, tracker.doubts = self._discover, True
        tracker.model = self._network(self._frames)
        tracker.miss(ended)
        return tracker

    def close(self) -> None:
        """End a video. What is being compiled ends first: beside the end of a program it would write warnings."""
        self._encode.close()
        if self._faster is not None:
            self._faster.end_of_video()
        for tracker in (self._tracker, *(shot[1] for shot in self._earlier)):
            if isinstance(tracker.look, LookOnGPU):
                tracker.look.close()

    @property
    def _idle(self) -> bool:
        """Whether there is nothing to do before a mask is given."""
        return not self._discover and self._first_mask is None and not self.objects

    @property
    def _frames_ahead(self) -> int:
        """How many of the first frames are worth a look before they are followed."""
        return self.rules.frames if self._discover and self._model.config.matching else 0

    def _new_tracker(self, newest_id: int = 0, view: View | None = None) -> Tracker:
        kind = MatchingTracker if self._model.config.matching else PublishedTracker
        look: Looking = Seen
        if isinstance(self._encode, AheadOnGPU):
            look = LookOnGPU(self.device, self._encode.begin, graphs=isinstance(self._faster, GraphedRVOS))
        tracker = kind(self._model, self.options, self.device, discover=self._discover, look=look)
        tracker.newest_id, tracker.view = newest_id, view
        return tracker

    def _threads(self) -> AbstractContextManager[None]:
        if self.device.type != "cpu":
            # Copying a picture is all there is for them, and after it they would keep their processors busy waiting for
            # more, which those who decode and encode want.
            return torch_threads(1)
        return torch_threads() if self._announced else nullcontext()

    def _arithmetic(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    @torch.inference_mode()
    def _encoded(self, image: NDArray[np.uint8], network: RVOS, view: View) -> EncodedFrame:
        with self._arithmetic():
            part = view.of(image)
            pixels = self._input(part, view)
            return EncodedFrame((part.shape[0], part.shape[1]), network.encode(pixels), pixels)

    @torch.inference_mode()
    def _encoded_at_once(self, frames: Sequence[tuple[NDArray[np.uint8], RVOS, View]]) -> list[EncodedFrame]:
        """Encode a view of pictures, each with the network that is to do it; view and network are the same for all.

        Where the memory does not suffice for all, the first alone, and from then on one at a time.
        """
        _, network, view = frames[0]
        if not isinstance(network, GraphedRVOS):
            return [self._encoded(*frame) for frame in frames]
        parts = [view.of(image) for image, *_ in frames]
        source, pictures = (parts[0].shape[0], parts[0].shape[1]), [picture_tensor(part) for part in parts]
        try:
            with self._arithmetic():
                return [EncodedFrame(source, one) for one in network.encode_pictures(pictures, self._grid(view))]
        except torch.cuda.OutOfMemoryError:
            if len(frames) == 1:
                raise
        self._at_once = 1
        return self._encoded_at_once(frames[:1])

    @torch.inference_mode()
    def _begin(self, frame: EncodedFrame) -> bool:
        with self._arithmetic():
            return isinstance(self._tracker, MatchingTracker) and self._tracker.begin(frame)

    def _input(self, image: NDArray[np.uint8], view: View) -> Tensor:
        return frame_tensor(image, self._grid(view), self._model.config, self.device, torch.float32)

    def _grid(self, view: View) -> tuple[int, int]:
        """Return the network's size (h, w) for any part of a view."""
        (top, bottom), (left, right) = view.area.bounds
        return network_size((bottom - top, right - left), self.options.size or self._model.config.size)

    def _network(self, place: int) -> RVOS:
        """Return what computes the frame at *place* of the video."""
        return self._model if self._faster is None or place < FRAMES_MEANWHILE else self._faster

    def _switch(self, image: NDArray[np.uint8]) -> RVOS:
        """Return what computes this frame; begin to compile with the second one, when the first mask is out."""
        network = self._network(self._frames)
        if isinstance(self._faster, CompiledRVOS) and self._frames == 1:
            view = self._view(image)
            self._faster.prepare(self._input(view.of(image), view))
        if self._faster is not None and self._frames == FRAMES_MEANWHILE:
            self._tracker.model = network
        self._frames += 1
        return network


def _confidence(tracker: Tracker, seen: Seen) -> dict[int, float]:
    """Return how sure the network is of each object that is seen, by id."""
    return {one: score for one, score in zip(tracker.ids, seen.confidence, strict=True) if score > 0}
