"""The camera that follows small objects: which part of the next frames is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from rvos_cli.camera import Camera, CameraRules
from rvos_cli.picture_area import PictureArea
from rvos_cli.views import View, plain_view

SIZE, GRID, CELLS = (480, 800), (192, 320), (48, 80)
RULES = CameraRules()
Box = tuple[int, int, int, int]


def labels(*boxes: Box) -> np.ndarray:
    """Return a frame's labels with objects 1, 2, ... in boxes of top, left, bottom, right."""
    mask = np.zeros(SIZE, np.uint8)
    for identity, (top, left, bottom, right) in enumerate(boxes, start=1):
        mask[top:bottom, left:right] = identity
    return mask


def camera(*boxes: Box, view: View | None = None, rules: CameraRules = RULES) -> Camera:
    made = Camera(view or plain_view(np.zeros((*SIZE, 3), np.uint8)), GRID, rules)
    made.point(labels(*boxes))
    return made


def seen(view: View, box: Box | None) -> np.ndarray:
    """Return the cells in which a view shows what is in a box of the frame."""
    cells = np.zeros(CELLS, np.bool_)
    if box is not None:
        (top, bottom), (left, right) = view.looked_at.bounds
        part = labels(box)[top:bottom, left:right] > 0
        rows, columns = np.nonzero(part)
        cells[rows * CELLS[0] // part.shape[0], columns * CELLS[1] // part.shape[1]] = True
    return cells


def holds(view: View, box: Box) -> bool:
    (top, bottom), (left, right) = view.looked_at.bounds
    return top <= box[0] and left <= box[1] and box[2] <= bottom and box[3] <= right


def share(view: View) -> float:
    (top, bottom), _ = view.looked_at.bounds
    return (bottom - top) / SIZE[0]


def test_what_is_large_is_looked_at_in_the_whole_picture():
    large = camera((100, 100, 300, 300))
    assert large.view is large.coming is large.whole and not large.closer
    large.follow({1: seen(large.view, (100, 110, 300, 310))})
    assert large.view is large.coming is large.whole


def test_what_is_small_is_looked_at_with_as_much_around_it():
    box = (200, 300, 280, 360)
    small = camera(box)
    rows, columns = small.view.looked_at.bounds
    assert small.closer and small.view is small.coming
    assert RULES.context * 80 <= rows[1] - rows[0] <= RULES.context * 80 * RULES.step + 1
    assert (columns[1] - columns[0]) / (rows[1] - rows[0]) == pytest.approx(SIZE[1] / SIZE[0], abs=0.02)
    assert abs(sum(rows) - 480) <= 2 and abs(sum(columns) - 660) <= 2
    frame = np.arange(SIZE[0] * SIZE[1] * 3, dtype=np.uint32).reshape(*SIZE, 3).astype(np.uint8)
    assert np.array_equal(small.view.of(frame), frame[slice(*rows), slice(*columns)])


@pytest.mark.parametrize("box", [(0, 0, 40, 40), (440, 760, 480, 800), (0, 700, 60, 740)])
def test_the_window_stays_in_the_picture(box: Box):
    rows, columns = camera(box).view.looked_at.bounds
    assert 0 <= rows[0] < rows[1] <= SIZE[0] and 0 <= columns[0] < columns[1] <= SIZE[1]
    assert holds(camera(box).view, box)


def test_it_stays_between_black_bars():
    area = PictureArea(SIZE, slice(60, 420), slice(None))
    view = View(area)
    for box in ((60, 0, 90, 30), (390, 700, 420, 730), (200, 400, 230, 430)):
        rows, _ = camera(box, view=view).view.looked_at.bounds
        assert rows[0] >= 60 and rows[1] <= 420


def test_nothing_is_enlarged_beyond_measure():
    rows, _ = camera((240, 400, 244, 404)).view.looked_at.bounds
    assert rows[1] - rows[0] >= GRID[0] / RULES.enlarged
    large = Camera(plain_view(np.zeros((4800, 8000, 3), np.uint8)), GRID, RULES)
    mask = np.zeros((4800, 8000), np.uint8)
    mask[1000:1004, 1000:1004] = 1
    large.point(mask)
    rows, _ = large.view.looked_at.bounds
    assert rows[1] - rows[0] >= 4800 * RULES.least


def test_a_view_stays_the_same_object_while_nothing_moves():
    still = camera((200, 300, 280, 360))
    view = still.view
    for _ in range(8):
        still.follow({1: seen(still.view, (200, 300, 280, 360))})
        assert still.view is still.coming is view


def test_a_frame_tells_of_the_next_but_one():
    moved = camera((200, 300, 280, 360))
    view = moved.view
    moved.follow({1: seen(view, (200, 330, 280, 390))})
    assert moved.view is view and moved.coming is not view
    coming = moved.coming
    moved.follow({1: seen(view, (200, 330, 280, 390))})
    assert moved.view is coming


def test_it_goes_along_with_what_moves():
    going, box = camera((200, 100, 280, 160)), (200, 100, 280, 160)
    for step in range(40):
        box = (200 + 2 * step, 100 + 12 * step, 280 + 2 * step, 160 + 12 * step)
        assert holds(going.view, box)
        going.follow({1: seen(going.view, box)})


def test_it_comes_closer_and_goes_back_step_by_step():
    shares = []
    going = camera((200, 300, 280, 360))
    for size in (*range(80, 200, 2), *range(200, 60, -2)):
        box = (240 - size // 2, 340 - size // 2, 240 + size // 2, 340 + size // 2)
        assert holds(going.view, box)
        going.follow({1: seen(going.view, box)})
        shares.append(share(going.view))
    steps = np.abs(np.diff(np.log(shares)))
    assert max(shares) == 1.0 and shares[-1] < 0.4
    assert steps[: len(steps) // 3].max() < 2 * np.log(RULES.step)


def test_what_the_window_cuts_off_widens_it_at_once():
    cut = camera((200, 300, 280, 360))
    inside, (_, right) = cut.view, cut.view.looked_at.bounds[1]
    cut.follow({1: seen(inside, (200, 340, 280, right + 80))})
    assert share(cut.coming) > 1.2 * share(inside)
    assert cut.coming.looked_at.bounds[1][1] > right + 40


def test_when_nobody_is_in_sight_everything_is_looked_at_until_somebody_is():
    lost = camera((200, 300, 280, 360))
    lost.follow({1: seen(lost.view, None)})
    assert lost.coming is lost.whole and lost.closer
    lost.follow({1: seen(lost.view, None)})
    assert lost.view is lost.coming is lost.whole
    for _ in range(12):
        lost.follow({1: seen(lost.view, (20, 700, 100, 760))})
    assert share(lost.view) < 0.7 and holds(lost.view, (20, 700, 100, 760))


def test_who_is_out_of_sight_is_waited_for_around_its_place_while_others_are_not():
    first, second = (200, 300, 260, 340), (220, 380, 280, 420)
    two = camera(first, second)
    near = share(two.view)
    for _ in range(10):
        two.follow({1: seen(two.view, first), 2: seen(two.view, None)})
    assert near < share(two.view) < 1 and holds(two.view, (200, 300, 280, 430))
    for _ in range(200):
        two.follow({1: seen(two.view, first), 2: seen(two.view, None)})
    assert two.view is two.whole  # it may be anywhere by now
    two.follow({1: seen(two.view, None), 2: seen(two.view, None)})
    assert two.coming is two.whole


def test_who_was_not_seen_yet_may_be_anywhere():
    box = (200, 300, 280, 360)
    found = Camera(plain_view(np.zeros((*SIZE, 3), np.uint8)), GRID, RULES)
    for _ in range(30):
        found.follow({1: seen(found.view, box), 2: seen(found.view, None)})
        assert found.view is found.coming is found.whole
    for _ in range(30):
        found.follow({1: seen(found.view, box), 2: seen(found.view, (200, 380, 260, 420))})
    assert share(found.view) < 0.8


def test_what_is_fast_is_given_room_as_long_as_it_is():
    going, shares = camera((200, 20, 240, 180)), []
    for left in (*range(20, 620, 15), *[620] * 50):
        box = (200, left, 240, left + 160)
        assert holds(going.view, box)
        going.follow({1: seen(going.view, box)})
        shares.append(share(going.view))
    assert shares[30] > 1.1 * shares[0] and shares[-1] == pytest.approx(shares[0], abs=0.04)


def test_a_mask_is_looked_at_in_its_own_frame():
    pointed = camera((200, 300, 280, 360))
    late = np.where(labels((20, 700, 60, 740)) == 1, 2, 0).astype(np.uint8)
    pointed.point(late)
    assert holds(pointed.view, (200, 300, 280, 740)) and holds(pointed.view, (20, 300, 280, 740))
    assert pointed.view is pointed.coming
    alone = camera((200, 300, 280, 360))
    alone.point(late, whole=True)
    assert holds(alone.view, (20, 700, 60, 740)) and holds(alone.view, (200, 300, 280, 360))  # it may come again
    alone.point(np.zeros(SIZE, np.uint8), whole=True)
    assert alone.view is alone.whole


def test_other_frames_are_seen_as_their_own_masks_ask_for():
    here = camera((200, 300, 280, 360))
    view = here.view
    assert holds(here.around(labels((20, 700, 60, 740))), (20, 700, 60, 740))
    assert here.around(np.zeros(SIZE, np.uint8)) is here.whole
    assert here.view is here.coming is view


def test_a_copy_goes_its_own_way():
    one = camera((200, 300, 280, 360))
    other, view = one.copy(), one.view
    other.follow({1: seen(other.view, None)})
    other.follow({1: seen(other.view, None)})
    assert other.view is other.whole and one.view is one.coming is view
    one.follow({1: seen(one.view, (200, 300, 280, 360))})
    assert one.coming is view
