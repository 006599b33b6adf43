"""Functions of tensors as CUDA graphs: called as they are at first, then recorded, and replayed from then on.

A small network's frame is hundreds of kernels, each of which takes a processor longer to ask for than a GPU to compute.
A graph asks for all of them at once. It is bound to the shapes, and to the memory, that it was recorded with.
"""

from __future__ import annotations

import functools
import gc
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

RECORDED_AFTER = 2  # calls of one kind: what libraries choose and set up in their first calls is no part of a graph
LARGEST_CACHE = 12  # graphs of a function
_RECORDING = threading.Lock()  # one at a time: each changes what holds for the whole program
_OF_THIS_THREAD = threading.local()

Tensors = Sequence["Tensor | None"]
Function = Callable[..., tuple[Tensor, ...]]


class Replayed:
    """A function of tensors on one GPU, without gradients, whose answers are good until it is called again.

    What cannot be recorded is called as it is, and so is everything on other devices. But a recording that fails costs
    the program: torch may not give memory back to the device from then on.
    """

    def __init__(self, function: Function, device: torch.device) -> None:
        """Wrap *function*, which takes a sequence of tensors, some of them None, and hashable settings by name.

        It must ask for the same kernels whatever the tensors hold, and never wait for *device*, where its tensors are
        or are to be sent: those of a call may also be in pinned memory.
        """
        self._function, self._device = function, device
        self._calls: Counter[Hashable] = Counter()
        self._recorded: OrderedDict[Hashable, _Recording | None] = OrderedDict()
        self._memory: Any = None  # of all its graphs, of which none computes while another does

    def __call__(self, tensors: Tensors, **settings: Hashable) -> tuple[Tensor, ...]:
        """Return what the function returns."""
        if self._device.type == "cuda":
            recording = self._recording(tensors, settings)
            if recording is not None:
                return recording.replay(tensors)
        return self._function([None if x is None else x.to(self._device) for x in tensors], **settings)

    def close(self) -> None:
        """Give back the memory of all graphs, now and not when the garbage is collected; no call may follow."""
        self._recorded.clear()
        self._function, self._memory = closed, None

    def _recording(self, tensors: Tensors, settings: dict[str, Any]) -> _Recording | None:
        """Return the graph of such a call, if there is one or it is time for one."""
        key = (*(None if x is None else (x.shape, x.dtype) for x in tensors), *settings.values())
        if key not in self._recorded:
            self._calls[key] += 1
            if self._calls[key] <= RECORDED_AFTER:
                return None
            self._recorded[key] = self._record(tensors, settings)
            if len(self._recorded) > LARGEST_CACHE:
                self._recorded.popitem(last=False)
        self._recorded.move_to_end(key)
        return self._recorded[key]

    def _record(self, tensors: Tensors, settings: dict[str, Any]) -> _Recording | None:
        """Record a call; None if something in it cannot be."""
        if self._memory is None:
            self._memory = torch.cuda.graph_pool_handle()
        try:
            return _Recording.of(self._function, tensors, settings, self._device, self._memory)
        except RuntimeError:  # a kernel that waits for the device, a library without graphs, too little memory
            return None


@dataclass(frozen=True)
class _Recording:
    """A graph, the tensors that it reads, and those that it writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]

    @classmethod
    def of(
        cls, function: Function, tensors: Tensors, settings: dict[str, Any], device: torch.device, memory: Any
    ) -> _Recording:
        """Record a call with tensors like these; *memory* is that of graphs with which it never computes at a time."""
        inputs = tuple(None if x is None else torch.empty_like(x, device=device) for x in tensors)
        graph, beside, caller = torch.cuda.CUDAGraph(), _recorder(device), torch.cuda.current_stream(device)
        with _RECORDING, _without_garbage_collection(), torch.cuda.stream(beside):
            beside.wait_stream(caller)
            with _without_workspaces():
                # Only this thread is asked to keep from what no graph can hold.
                graph.capture_begin(pool=memory, capture_error_mode="thread_local")
                try:
                    outputs = function(inputs, **settings)
                finally:
                    graph.capture_end()
            caller.wait_stream(beside)
        return cls(graph, inputs, outputs)

    def replay(self, tensors: Tensors) -> tuple[Tensor, ...]:
        """Return the answer to *tensors*, which are like those it was recorded with."""
        alike: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for here, x in zip(self.inputs, tensors, strict=True):
            if here is None or x is None:
                continue
            if x.is_cuda:
                for many, one in zip(alike.setdefault(x.dtype, ([], [])), (here, x), strict=True):
                    many.append(one)
            else:
                here.copy_(x, non_blocking=True)
        for places, values in alike.values():
            torch._foreach_copy_(places, values)  # one kernel for many tensors of a type
        self.graph.replay()
        return self.outputs


def queue(device: torch.device) -> torch.cuda.Stream:
    """Return the queue of a GPU's work that goes on beside what this thread asks for otherwise.

    One for a thread and no more: a GPU has 32 of them, which torch hands out in turn, and its libraries hold memory for
    each.
    """
    queues: dict[torch.device, torch.cuda.Stream] = _OF_THIS_THREAD.__dict__.setdefault("queues", {})
    if device not in queues:
        queues[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return queues[device]


@functools.cache
def _recorder(device: torch.device) -> torch.cuda.Stream:
    """Return the queue that is recorded: of those with priority, so that no thread has it for its work."""
    return torch.cuda.Stream(device, priority=-1)  # type: ignore[no-untyped-call]


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Collect no garbage in the block: to destroy another graph there ends the recording, and the program with it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _without_workspaces() -> Iterator[None]:
    """Let matrix products take workspaces of their own in the block, which go as their graph does."""
    clear = getattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None)
    clear()
    try:
        yield
    finally:
        clear()


def closed(*_: object, **__: object) -> Any:
    """Stand where a function was that may not be called any more, so that nothing is held by it."""
    raise RuntimeError("this was closed")
