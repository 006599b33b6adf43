"""A stand-in for a network that learns to outline: it keeps what it is told, and clips to show it."""

from __future__ import annotations

import torch

from rvos_cli.training.box_rollout import BoxRollout

ROLLOUT = BoxRollout(sides=(64, 64), least=20)


def draws(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + n) for n in range(count)]


def clips(*labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    stacked = torch.stack(labels)[:, None]
    torch.manual_seed(1)
    return torch.randn(len(labels), 1, 3, *stacked.shape[-2:]), stacked


def square(identity: int = 1) -> torch.Tensor:
    labels = torch.zeros(64, 96, dtype=torch.uint8)
    labels[20:40, 30:60] = identity
    return labels


class Told:
    """Stands in for a network: it keeps what it is shown, and answers that all is the object, or nothing."""

    def __init__(self, *answers: float) -> None:
        self.answers, self.seen = answers or (3.0, 3.0), list[tuple[torch.Tensor, torch.Tensor]]()
        self.points = list[torch.Tensor | None]()

    def outline(
        self, pictures: torch.Tensor, boxes: torch.Tensor, points: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        self.seen.append((pictures, boxes))
        self.points.append(points)
        return [torch.full_like(boxes, answer) for answer in self.answers]


def loss(network: object, frames: torch.Tensor, labels: torch.Tensor, rollout: BoxRollout = ROLLOUT) -> float:
    every = torch.tensor([True] * len(frames))
    return float(rollout.run(network, frames, labels, every, draws(len(frames)), teacher=0.0).value)  # type: ignore[arg-type]
