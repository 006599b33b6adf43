"""Values that a caller gives object by object: any form of them enters, what they are by id leaves.

Used by ``boxes.py`` and ``points.py``.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from rvos_cli.config import MAX_OBJECT_ID
from rvos_cli.errors import UsageError

LONGEST_TEXT = 60  # letters of what was given, in a message


def by_id(given: Any, *, least: int, each: str, two: str) -> dict[int, Any]:
    """Return the values of a mapping by their ids, or those of a list, whose ids are 1, 2, ...

    Args:
        given: a mapping or an iterable.
        least: lowest id.
        each: how a message begins that tells of an id, such as "a box has", and
        two: one that tells of two values with one id, such as "two boxes have".

    Raises:
        UsageError: an id is none, or two are the same.
    """
    pairs = list(given.items()) if isinstance(given, Mapping) else list(enumerate(given, start=1))
    read: dict[int, Any] = {}
    for name, value in pairs:
        identity = _read_id(name, least, each)
        if identity in read:
            raise UsageError(f"{two} the id {identity}", cure="give each object its own")
        read[identity] = value
    return read


def _read_id(name: object, least: int, each: str) -> int:
    try:
        identity = -1 if isinstance(name, bool) else operator.index(name)  # type: ignore[arg-type]
    except TypeError:
        identity = -1
    if not least <= identity <= MAX_OBJECT_ID:
        raise UsageError(f"{each} the id {short(name)}", cure=f"ids are whole numbers from {least} to {MAX_OBJECT_ID}")
    return identity


def is_many(given: object) -> bool:
    """Whether something is a list of whatever kind, and no text."""
    try:
        iter(given)  # type: ignore[call-overload]
    except TypeError:  # such as an array of no dimension
        return False
    return not isinstance(given, (str, bytes))


def numbers(given: Any, count: int) -> tuple[float, ...] | None:
    """Return so many numbers; None if it is anything else."""
    try:
        read = tuple(float(number) for number in given) if is_many(given) else ()
    except (TypeError, ValueError, OverflowError):
        return None
    return read if len(read) == count else None


def short(given: object) -> str:
    """Return what was given as a message shows it."""
    text = " ".join(repr(given).split())
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."
