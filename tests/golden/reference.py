"""The published network once more, written from its description alone and as plainly as possible.

It shares no code with ``rvos_cli``: the tests compare the two, and ``make.py`` makes the stored answers with it.
Also here: the deterministic weights and inputs that every golden file is made with.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

State = dict[str, Tensor]


def published_states(args: Mapping[str, Any], *, oneshot: bool) -> tuple[State, State]:
    """Return the encoder's and the decoder's state dict as the authors' code saves them, with deterministic values."""
    hidden, kernel = args["hidden_size"], args["kernel_size"]
    with torch.device("meta"):
        base = getattr(torchvision.models, args["base_model"])(weights=None)
    encoder = {f"base.{key}": tuple(value.shape) for key, value in base.state_dict().items()}
    deepest = {"resnet34": (512, 256, 128, 64), "vgg16": (512, 512, 256, 128)}
    channels = deepest.get(args["base_model"], (2048, 1024, 512, 256))
    for name, c_in, c_out in zip("5432", channels, (hidden, hidden, hidden // 2, hidden // 4), strict=True):
        encoder |= {f"sk{name}.weight": (c_out, c_in, kernel, kernel), f"sk{name}.bias": (c_out,)}
        norm = ("weight", "bias", "running_mean", "running_var")
        encoder |= {f"bn{name}.{entry}": (c_out,) for entry in norm} | {f"bn{name}.num_batches_tracked": ()}
    decoder: dict[str, tuple[int, ...]] = {}
    widening = 2 if args["skip_mode"] == "concat" else 1
    inputs = (hidden, hidden * widening, hidden // 2 * widening, hidden // 4 * widening)
    for i, (c_in, c) in enumerate(zip(inputs, (hidden, hidden // 2, hidden // 4, hidden // 8), strict=True)):
        decoder[f"clstm_list.{i}.Gates.weight"] = (4 * c, c_in + int(oneshot) + 2 * c, kernel, kernel)
        decoder[f"clstm_list.{i}.Gates.bias"] = (4 * c,)
    decoder |= {"conv_out.weight": (1, hidden // 8, kernel, kernel), "conv_out.bias": (1,)}
    return _fill(encoder), _fill(decoder)


def deterministic_frames(frames: int, height: int, width: int) -> Tensor:
    """Return (T, 3, H, W) float32, already normalised."""
    t, c, i, j = np.ogrid[:frames, :3, :height, :width]
    waves = np.sin(0.11 * (c + 1) * j + 0.07 * i + 0.5 * t) + np.cos(0.05 * (c + 2) * i - 0.3 * t)
    return torch.from_numpy(waves.astype(np.float32))


def deterministic_masks(slots: int, objects: int, height: int, width: int) -> Tensor:
    """Return (S, H, W) float32: *objects* rectangles, then empty slots."""
    masks = torch.zeros(slots, height, width)
    for n in range(objects):
        top, left = int(height * (0.15 + 0.3 * n)), int(width * (0.1 + 0.35 * n))
        masks[n, top : top + int(0.35 * height), left : left + int(0.3 * width)] = 1
    return masks


@torch.inference_mode()
def reference_clip(
    encoder: State, decoder: State, args: Mapping[str, Any], frames: Tensor, masks: Tensor | None = None
) -> Tensor:
    """Return probabilities (T, S, H, W) for frames (T, 3, H, W) and, one-shot, masks (S, H, W)."""
    trunk = getattr(torchvision.models, args["base_model"])(weights=None).eval()
    trunk.load_state_dict({key.removeprefix("base."): v for key, v in encoder.items() if key.startswith("base.")})
    slots, size = args["maxseqlen"], frames.shape[-2:]
    before: list[list[Tensor]] = []  # the hidden states of the previous frame, per slot and scale
    answers: list[Tensor] = []
    for t, frame in enumerate(frames):
        skips = _skips(trunk, encoder, frame[None], args)
        given = None if masks is None else masks if t < 2 else answers[-1]
        states, planes, now = None, [], []
        for slot in range(slots):
            if args["only_temporal"] and t > 0:
                states = None
            remembered = before[slot] if before and not args["only_spatial"] else None
            mask = None if given is None else given[slot][None, None]
            states, logit = _decode(decoder, args, skips, mask, states, remembered)
            planes.append(_grow(logit, size).sigmoid()[0, 0])
            now.append([hidden for hidden, _ in states])
        before = now
        answers.append(torch.stack(planes))
    return torch.stack(answers)


def _fill(shapes: Mapping[str, tuple[int, ...]]) -> State:
    state = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(0)
            continue
        if key.startswith(("base.fc.", "base.classifier.")):  # published, and of no use: any values will do
            state[key] = torch.zeros(shape)
            continue
        r = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
        if len(shape) >= 2:
            r = r * np.float32(math.sqrt(2 / math.prod(shape[1:])))
        elif key.endswith("running_var"):
            r = 1 + np.float32(0.1) * np.abs(r)
        elif key.endswith("weight"):
            r = 1 + np.float32(0.1) * r
            if key.split(".")[-2] == "bn3":
                r = r * np.float32(0.2)
        else:
            r = np.float32(0.1) * r
        state[key] = torch.from_numpy(r.astype(np.float32))
    return state


def _skips(trunk: torch.nn.Module, encoder: State, frame: Tensor, args: Mapping[str, Any]) -> list[Tensor]:
    kept: list[Tensor] = []
    if args["base_model"] == "vgg16":
        layers = [trunk.features[i] for i in (9, 16, 23, 30)]
    else:
        layers = [trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4]
    hooks = [layer.register_forward_hook(lambda _layer, _input, output: kept.append(output)) for layer in layers]
    trunk(frame)
    for hook in hooks:
        hook.remove()
    skips = []
    for name, x in zip("5432", reversed(kept), strict=True):
        x = F.conv2d(x, encoder[f"sk{name}.weight"], encoder[f"sk{name}.bias"], padding=args["kernel_size"] // 2)
        norm = [encoder[f"bn{name}.{entry}"] for entry in ("running_mean", "running_var", "weight", "bias")]
        skips.append(F.batch_norm(x, *norm))
    return skips


def _decode(
    decoder: State,
    args: Mapping[str, Any],
    skips: list[Tensor],
    mask: Tensor | None,
    states: list[tuple[Tensor, Tensor]] | None,
    remembered: list[Tensor] | None,
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    padding = args["kernel_size"] // 2
    pooled = [mask]
    for _ in range(5):
        pooled.append(None if mask is None else F.max_pool2d(pooled[-1], 2, ceil_mode=True))
    now: list[tuple[Tensor, Tensor]] = []
    for scale, skip in enumerate(skips):
        x = skip
        if scale:
            up = _grow(now[-1][0], skip.shape[-2:])
            joined = {"concat": lambda a, b: torch.cat([a, b], 1), "sum": torch.add, "mul": torch.mul}
            x = up if args["skip_mode"] == "none" else joined[args["skip_mode"]](up, skip)
        weight = decoder[f"clstm_list.{scale}.Gates.weight"]
        zero = torch.zeros(1, weight.shape[0] // 4, *skip.shape[-2:])
        hidden, cell = states[scale] if states else (zero, zero)
        inputs = [x, pooled[5 - scale], hidden, remembered[scale] if remembered else zero]
        stacked = torch.cat([entry for entry in inputs if entry is not None], 1)
        gates = F.conv2d(stacked, weight, decoder[f"clstm_list.{scale}.Gates.bias"], padding=padding)
        into, keep, out, candidate = gates.chunk(4, 1)
        cell = keep.sigmoid() * cell + into.sigmoid() * candidate.tanh()
        now.append((out.sigmoid() * cell.tanh(), cell))
    last = now[-1][0]
    enlarged = _grow(last, (2 * last.shape[-2], 2 * last.shape[-1]))
    return now, F.conv2d(enlarged, decoder["conv_out.weight"], decoder["conv_out.bias"], padding=padding)


def _grow(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=True)
