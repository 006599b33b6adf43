"""From the values or colours of a drawn mask to object ids.

Enters: an opened image or an array. Leaves: an (H, W) uint8 label map and what had to be changed, in words.
Beside ``masks.py``, which checks size and emptiness; Pillow and numpy only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rvos_cli.config import MAX_OBJECT_ID
from rvos_cli.errors import MaskError
from rvos_cli.png import DAVIS_PALETTE

IGNORED = 255  # a pixel of a DAVIS annotation that belongs to nobody
OPAQUE = 128
SMOOTHED = 8  # shades or thin colours that nobody paints as so many objects
COUNTED = 20  # ids up to this are such, however much is white: an edge has brighter shades, too
FLAT = "save it as PNG without smoothing, one flat colour or grey value per object"


class Colours:
    """Which object each colour is, in all masks of a video; a colour is 0xRRGGBB.

    Attributes:
        of_results: whether the masks are edited results of rvos.
        numbered: the ids that were given to colours since this was emptied.
        two_meanings: whether a colour of results, which counts, was another object's in a mask before.
    """

    def __init__(self, *, of_results: bool = False) -> None:
        """Know no colour yet; or those of the palette, in which results are."""
        shown = DAVIS_PALETTE[1 : MAX_OBJECT_ID + 1].tolist() if of_results else []
        self.of_results = of_results
        self._shown = {_code(colour): identity for identity, colour in enumerate(shown, start=1)}
        self._seen: dict[int, int] = {}
        self._highest = 0
        self.numbered: set[int] = set()
        self.two_meanings = False

    def note_ids(self, ids: Iterable[int]) -> None:
        """Number new colours from behind these ids on."""
        self._highest = max((self._highest, *ids))

    def learn(self, other: Colours) -> None:
        """Learn what colours mean elsewhere, where results have no such colours."""
        self._seen = {**other._seen, **self._seen}
        self.note_ids((other._highest,))

    def note_palette(self, image: Image.Image, ids: Iterable[int]) -> None:
        """Note in which colours a palette image shows its ids: a later mask may have been saved without the palette."""
        palette = _palette_of(image)
        for identity in ids:
            if 0 < identity < len(palette) and (code := _code(palette[identity])):
                self._seen.setdefault(code, identity)
        self.note_ids(ids)

    def tell_other_ids(self, image: Image.Image) -> bool:
        """Say whether a palette image shows an object in a colour of results that belongs to another id."""
        palette = _palette_of(image)
        opaque = np.asarray(image)[np.asarray(image.convert("RGBA"))[..., 3] >= OPAQUE]
        used = [index for index in np.unique(opaque).tolist() if index < len(palette)]
        return any(self._shown.get(_code(palette[index]), index) != index for index in used)

    def all_shown(self, codes: NDArray[Any]) -> bool:
        """Say whether results have all these colours."""
        return all(code in self._shown for code in np.unique(codes).tolist() if code)

    def note_shown(self, codes: Iterable[int]) -> None:
        """Number new colours from behind the ids that results show in these colours on."""
        self.note_ids(self._shown[code] for code in codes if code in self._shown)

    def id_of(self, code: int) -> int:
        """Return the id of a colour, a new one if it has none."""
        if code in self._shown:
            self.two_meanings |= self._seen.get(code, self._shown[code]) != self._shown[code]
            return self._shown[code]
        if code not in self._seen:
            self.note_ids((self._highest + 1,))
            self._seen[code] = self._highest
        self.numbered.add(self._seen[code])
        return self._seen[code]


def _code(colour: Sequence[int]) -> int:
    red, green, blue = colour
    return red << 16 | green << 8 | blue


def _palette_of(image: Image.Image) -> list[list[int]]:
    flat = image.getpalette("RGB") or []
    return [flat[place : place + 3] for place in range(0, len(flat), 3)]


@dataclass(frozen=True)
class Values:
    """(H, W) uint8 ids, 0 = background, and one line per thing that was changed."""

    labels: NDArray[np.uint8]
    warnings: tuple[str, ...] = ()


def labels_of_image(image: Image.Image, name: str, colours: Colours | None = None) -> Values:
    """Read the ids of a loaded image of any mode; the rules are those of ``masks.read_first_mask``.

    Raises:
        MaskError: its objects cannot be told apart.
    """
    if image.format in {"JPEG", "MPO"}:
        return _blurred(np.asarray(image.convert("RGB")), name)
    if image.mode == "1":
        return Values(np.asarray(image).astype(np.uint8))
    colours = colours or Colours()
    if image.mode == "P" and colours.of_results and colours.tell_other_ids(image):
        values = _from_colours(np.asarray(image.convert("RGBA")), name, colours)
        return replace(values, warnings=(*values.warnings, f"{name} has another palette; its colours say who is who"))
    if image.mode == "P" and not _background_elsewhere(image):
        indices = np.asarray(image)
        if colours.of_results and "transparency" in image.info:
            indices = np.where(np.asarray(image.convert("RGBA"))[..., 3] >= OPAQUE, indices, 0)
        values = _from_ids(indices, name, smoothed=_has_grey_palette(image))
        colours.note_palette(image, np.intersect1d(indices, values.labels).tolist())
        return values
    if image.mode == "L" or image.mode.startswith("I") or image.mode == "F":
        return labels_of_array(np.asarray(image), name, colours)
    transparent = "A" in image.mode or "transparency" in image.info
    return _from_colours(np.asarray(image.convert("RGBA" if transparent else "RGB")), name, colours)


def labels_of_array(array: NDArray[Any], name: str, colours: Colours | None = None) -> Values:
    """Read the ids of (H, W) bool or whole numbers, or of (H, W, 3 or 4) uint8 colours.

    Raises:
        MaskError: another shape or type, numbers that are no ids, or objects that cannot be told apart.
    """
    if array.ndim == 3 and array.shape[2] in {3, 4} and array.dtype == np.uint8 and array.size:
        return _from_colours(array, name, colours)
    if array.ndim != 2 or not array.size:
        raise MaskError(f"{name} has the shape {array.shape}, not (height, width)", cure="give one id per pixel")
    if array.dtype == np.bool_:
        return Values(array.astype(np.uint8))
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.rint(array)).any():
            raise MaskError(f"{name} has fractions for ids", cure="round it, or compare it with a threshold")
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise MaskError(f"{name} holds {array.dtype}, not ids", cure="give whole numbers or booleans")
    return _from_ids(array, name)


def _background_elsewhere(image: Image.Image) -> bool:
    """Tell a palette that a program made up from one whose indices are ids.

    Programs that save few colours as a palette sort it as they like; black is then some other index than 0, and only
    the colours mean something.
    """
    flat = image.getpalette("RGB")
    if not flat:
        return False
    colours = np.array(flat, np.uint8).reshape(-1, 3)
    used = np.unique(np.asarray(image))
    dark = [int(index) for index in used if index < len(colours) and not colours[index].any()]
    return bool(colours[0].any()) and bool(dark)


def _has_grey_palette(image: Image.Image) -> bool:
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return bool((colours == np.arange(len(colours), dtype=np.uint8)[:, None]).all())


def _from_ids(values: NDArray[Any], name: str, *, smoothed: bool = True) -> Values:
    """Read ids, of which 255 alone may also be a white object; its edges may be *smoothed* where values are shades."""
    present, counts = np.unique(values, return_counts=True)
    lowest, highest = int(present[0]), int(present[-1])
    if lowest < 0:
        raise MaskError(f"{name} has negative ids", cure="number the objects from 1, background is 0")
    if highest > IGNORED and not (present % 257).any():
        values, present, highest = values // 257, present // 257, highest // 257  # 8 bits stretched to 16
    objects = present[present > 0]
    if len(objects) == 1 and highest in {1, IGNORED}:
        return Values((values > 0).astype(np.uint8))
    if highest > IGNORED:
        raise MaskError(
            f"{name} has ids up to {highest}, more than {MAX_OBJECT_ID}",
            cure="number the objects from 1, background is 0",
        )
    if highest < IGNORED:
        return Values(values.astype(np.uint8))
    on, others = int(counts[-1]), int(counts[(present > 0) & (present < IGNORED)].sum())
    shades = len(present) - 2
    painted = shades > 0 and int(present[-2]) <= COUNTED
    if smoothed and not painted and (on > 9 * others or (on > others and shades >= SMOOTHED)):
        return Values(
            (values >= 128).astype(np.uint8), (f"{name} has soft edges; it is taken as one object, above half grey",)
        )
    return Values(
        np.where(values == IGNORED, 0, values).astype(np.uint8),
        (f"{on} pixels of {name} have the value 255, which means 'ignore'; they are taken as background",),
    )


def _from_colours(array: NDArray[np.uint8], name: str, known: Colours | None) -> Values:
    """Read (H, W, 3) or (H, W, 4) colours; such as are not *known* are numbered by first appearance, and then are."""
    known = known or Colours()
    seen = array[..., 3] >= OPAQUE if array.shape[2] == 4 else np.ones(array.shape[:2], np.bool_)
    red, green, blue = (array[..., channel].astype(np.int32) for channel in range(3))
    codes = np.where(seen, red << 16 | green << 8 | blue, 0)
    if not codes.any() and seen.any() and not seen.all() and not known.of_results:
        return Values(seen.astype(np.uint8))  # black paint on a transparent ground
    grey = not ((red != green) | (green != blue))[seen].any()
    if grey and not (codes.any() and known.all_shown(codes)):
        return _from_ids(codes & 0xFF, name)
    present, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    order = [int(rank) for rank in np.argsort(first) if present[rank]]
    thin = len(order) - int(np.count_nonzero(_solid(codes)))
    if len(order) > MAX_OBJECT_ID or (thin >= SMOOTHED and 2 * thin > len(order)):
        raise MaskError(f"{name} has {len(order)} colours, so its objects cannot be told apart", cure=FLAT)
    numbers = np.zeros(len(present), np.uint8)
    known.note_shown(present[order].tolist())
    for rank in order:
        number = known.id_of(int(present[rank]))
        if number > MAX_OBJECT_ID:
            raise MaskError(f"{name} and the masks before it have more than {MAX_OBJECT_ID} colours", cure="give ids")
        numbers[rank] = number
    return Values(numbers[inverse].reshape(codes.shape))


def _solid(codes: NDArray[Any]) -> NDArray[Any]:
    """Return the codes that fill a 3 x 3 block somewhere, as objects do and the blends along smoothed edges do not."""
    height, width = codes.shape
    middle = codes[1:-1, 1:-1]
    uniform = np.ones(middle.shape, np.bool_)
    for y in range(3):
        for x in range(3):
            uniform &= codes[y : height - 2 + y, x : width - 2 + x] == middle
    return np.unique(middle[uniform & (middle != 0)])


def _blurred(colours: NDArray[np.uint8], name: str) -> Values:
    """Read a JPEG, whose compression keeps black apart from white and nothing else."""
    darkest, brightest = colours.min(axis=2), colours.max(axis=2)
    unclear = ((darkest > 48) & (darkest < 207)) | (brightest.astype(np.int16) - darkest > 64)
    if unclear.mean() > 0.02 or not (darkest >= 207).any():
        raise MaskError(f"{name} is a JPEG, whose compression changes ids and colours", cure=FLAT)
    return Values(
        (colours.mean(axis=2) >= 128).astype(np.uint8),
        (f"{name} is a JPEG; it is taken as one object, white on black: a PNG keeps its edges exact",),
    )
