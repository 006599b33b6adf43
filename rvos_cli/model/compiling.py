"""What OpenVINO makes of a part of the network: a module and examples of its inputs enter, a fast function leaves."""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import io
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rvos_cli import compile_cache

_ONE_AT_A_TIME = threading.RLock()  # there must be one core only, see below


def can_compile() -> bool:
    """Whether OpenVINO is installed."""
    return find_spec("openvino") is not None


def bfloat16_pays() -> bool:
    """Whether the processor multiplies bfloat16 matrices faster than those of float32, as far as can be told.

    It does with units of their own for them (AMX), and on AMD's (since Zen 4), which were measured to take half as long
    as for float32. Intel's without AMX took a third longer.
    """
    # torch 2.11 has this; older ones may not.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    if capabilities.get("amx_bf16"):
        return True
    return bool(capabilities.get("avx512_bf16")) and "AMD" in _processor()


class Compiled:
    """A compiled function of tensors whose sizes never change; float32 enters and leaves."""

    def __init__(self, request: Any, layouts: Sequence[torch.memory_format]) -> None:
        """Wrap OpenVINO's *request*, whose inputs lie in memory as *layouts* says and whose outputs (B, h, w, C)."""
        self._request, self._layouts = request, layouts
        self._free = threading.Lock()  # a request serves one caller at a time, and there may be several

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """Return the outputs, channels last."""
        arrays = [_array(x, layout) for x, layout in zip(inputs, self._layouts, strict=True)]
        with self._free:
            answers = self._request.infer(arrays, share_inputs=True).values()
        return [torch.from_numpy(answer).permute(0, 3, 1, 2) for answer in answers]


def _array(x: Tensor, layout: torch.memory_format) -> NDArray[np.float32]:
    x = x.detach().float().contiguous(memory_format=layout)
    array: NDArray[np.float32] = (x.permute(0, 2, 3, 1) if layout == torch.channels_last else x).numpy()
    return array


def fingerprint(*modules: nn.Module | None) -> str:
    """Return a name for what *modules* compute: the same for the same weights, structure and code."""
    digest = hashlib.sha256(f"{torch.__version__} {compile_cache.code()} {modules}".encode())
    for module in modules:
        for tensor in () if module is None else (*module.parameters(), *module.buffers()):
            digest.update(tensor.detach().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def compiled(
    module: nn.Module, examples: Sequence[Tensor], *, half: bool, threads: int, known_as: str | None = None
) -> Compiled:
    """Compile *module* for inputs like *examples*, (B, C, h, w) each.

    Args:
        module: in eval mode; it answers with a tuple of tensors (B, C, h, w).
        examples: of the sizes, and the order in memory, that all later inputs have.
        half: compute in bfloat16 where the processor has it.
        threads: compute with so many.
        known_as: the ``fingerprint`` of what *module* is made of: what is compiled is kept on disk, and the next time
            loaded. None keeps nothing.

    Raises:
        Exception: OpenVINO is missing or cannot do it; its errors have no common name.
    """
    examples = [x.detach().float().clone() for x in examples]  # inference tensors cannot be traced
    layouts = [torch.channels_last if _is_channels_last(x) else torch.contiguous_format for x in examples]
    with _ONE_AT_A_TIME:
        return Compiled(_request(module, examples, layouts, half, threads, known_as), layouts)


def _is_channels_last(x: Tensor) -> bool:
    return x.shape[1] > 1 and x.is_contiguous(memory_format=torch.channels_last)


def _request(
    module: nn.Module,
    examples: Sequence[Tensor],
    layouts: Sequence[torch.memory_format],
    half: bool,
    threads: int,
    known_as: str | None,
) -> Any:
    """Return what runs *module*: loaded, or compiled and kept."""
    core = _core()
    abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if half and "BF16" in abilities else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # two runs at a time would be pinned to the same cores
    }
    shapes = [(tuple(x.shape), str(layout)) for x, layout in zip(examples, layouts, strict=True)]
    version, machine = _openvino().__version__, (_processor(), sorted(abilities))
    facts = (known_as, type(module).__name__, shapes, options, version, machine)
    kept = None if known_as is None else compile_cache.read(*facts)
    if kept is not None:
        with suppress(Exception):  # whatever it does not like about it, it can be compiled again
            return core.import_model(kept, "CPU", options).create_infer_request()
    network = core.compile_model(_converted(module, examples, layouts), "CPU", options)
    if known_as is not None:
        exported = io.BytesIO()
        network.export_model(exported)
        compile_cache.write(exported.getvalue(), *facts)
    return network.create_infer_request()


def _converted(module: nn.Module, examples: Sequence[Tensor], layouts: Sequence[torch.memory_format]) -> Any:
    """Return *module* as OpenVINO has it before it is compiled."""
    openvino = _openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
    from openvino.preprocess import PrePostProcessor

    # The frontend itself and not openvino.convert_model(), which reports on its users; and a traced module, because an
    # exported one takes three times as long to convert.
    with warnings.catch_warnings(), torch.no_grad(), torch.autocast("cpu", enabled=False):
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(_traced(module, examples))
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    for entry, example in zip(model.inputs, examples, strict=True):
        entry.get_node().set_element_type(openvino.Type.f32)
        entry.get_node().set_partial_shape(openvino.PartialShape(list(example.shape)))
    model.validate_nodes_and_infer_types()
    first, last = openvino.Layout("NCHW"), openvino.Layout("NHWC")
    process = PrePostProcessor(model)
    for index, layout in enumerate(layouts):
        process.input(index).model().set_layout(first)
        process.input(index).tensor().set_layout(last if layout == torch.channels_last else first)
    for index in range(len(model.outputs)):
        process.output(index).model().set_layout(first)
        process.output(index).tensor().set_layout(last)
    return process.build()


def _traced(module: nn.Module, examples: Sequence[Tensor]) -> Any:
    # A function, because of a module torch first makes a copy in TorchScript, which takes longer than all the rest. The
    # weights are constants of a function and must not want gradients, hence the likeness, which shares them.
    weights = (*module.parameters(), *module.buffers())
    likeness = copy.deepcopy(module, {id(x): x.detach() for x in weights}).eval()

    def function(*inputs: Tensor) -> Any:
        return likeness(*inputs)

    return torch.jit.trace(function, tuple(examples), check_trace=False)  # type: ignore[no-untyped-call]


def _processor() -> str:
    return str(_core().get_property("CPU", "FULL_DEVICE_NAME"))


def _core() -> Any:
    with _ONE_AT_A_TIME:
        return _only_core()


@functools.cache
def _only_core() -> Any:
    # One for the whole process: each that goes takes the stack for signals with it that the one before had set up, and
    # the next signal would end the program.
    return _openvino().Core()


@functools.cache
def _openvino() -> Any:
    """Import OpenVINO, which then does without the package that reports every import, from a forked process."""
    name = "openvino_telemetry"
    mine = sys.modules.setdefault(name, None) is None  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    finally:
        if mine:
            del sys.modules[name]
