"""A job in parts of which each thread takes one when it has time: parts enter, their results leave.

So a thread that would wait for another takes work off it, and what comes out does not depend on who did what.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

PartT = TypeVar("PartT")


class Shares(Generic[PartT]):
    """The parts of one job, each done once, by whoever comes to it first."""

    def __init__(self, parts: Sequence[Callable[[], PartT]]) -> None:
        """Begin with nothing done."""
        self._answers: list[Future[PartT]] = [Future() for _ in parts]
        self._left = deque(zip(parts, self._answers, strict=True))

    def take(self) -> bool:
        """Do one part; return whether there was one left."""
        try:
            part, answer = self._left.popleft()
        except IndexError:
            return False
        try:
            answer.set_result(part())
        except BaseException as error:
            answer.set_exception(error)  # raised where the results are asked for
        return True

    @property
    def done(self) -> bool:
        """Whether all is done, so that nobody would have to wait."""
        return all(answer.done() for answer in self._answers)

    def results(self) -> list[PartT]:
        """Do what is left, wait for what is in other hands, and return the results in the order of the parts.

        Raises:
            BaseException: what a part raised.
        """
        while self.take():
            pass
        return [answer.result() for answer in self._answers]
