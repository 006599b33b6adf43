"""What is done before its turn: frames read ahead, answers computed in another thread, half of the threads for each."""

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
from squares import FRAMES, square_labels, squares

from rvos_cli import ahead
from rvos_cli.ahead import LARGEST_LEAD, Ahead, AheadOnGPU, ReadAhead
from rvos_cli.segmenter import Segmenter
from rvos_cli.threads import torch_threads


def failing() -> Iterator[int]:
    yield from range(3)
    raise OSError("the file ends here")


def test_items_can_be_looked_at_before_their_turn():
    ahead = ReadAhead(iter(range(5)))
    assert ahead.peek(2) == [0, 1]
    assert [ahead.take() for _ in range(3) if ahead] == [0, 1, 2]
    assert ahead.peek(9) == [3, 4]
    assert bool(ahead) and [ahead.take(), ahead.take()] == [3, 4]
    assert not ahead and ahead.peek(1) == []


def test_nothing_is_read_before_it_is_asked_for():
    read: list[int] = []
    ahead = ReadAhead(read.append(number) or number for number in range(5))  # type: ignore[func-returns-value]
    assert read == []
    ahead.peek(2)
    assert read == [0, 1]


def test_what_was_announced_is_done_when_it_has_settled():
    done, go = list[int](), threading.Event()

    def slow(number: int) -> int:
        go.wait(20)
        done.append(number)
        return number

    ahead: Ahead[int] = Ahead(slow, lambda _: False)
    ahead.settle()
    ahead.announce(1)
    threading.Timer(0.05, go.set).start()
    ahead.settle()
    assert done == [1] and ahead(1) == 1
    ahead.close()


def test_a_failure_to_read_comes_when_those_before_it_are_taken():
    ahead = ReadAhead(failing())
    assert ahead.peek(9) == [0, 1, 2]
    assert [ahead.take() for _ in range(3) if ahead] == [0, 1, 2]
    with pytest.raises(OSError, match="ends here"):
        bool(ahead)


def nothing(_: object) -> bool:
    return False


def where(*_: object) -> str:
    return threading.current_thread().name


def test_what_is_announced_is_computed_in_another_thread_and_the_rest_here():
    ahead, one, two = Ahead(where, nothing), object(), object()
    assert ahead(one) == threading.current_thread().name
    ahead.announce(one)
    ahead.announce(two)
    assert ahead(one).startswith("rvos-ahead") and ahead(two).startswith("rvos-ahead")
    assert ahead(two) == threading.current_thread().name  # it was asked for once more than announced
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rvos-ahead")]


def test_another_question_than_the_one_announced_gets_its_own_answer():
    ahead = Ahead(lambda x, y: (x, y), nothing)
    ahead.announce("image", "network")
    assert ahead("another image", "network") == ("another image", "network")
    assert ahead("image", "network") == ("image", "network")
    ahead.close()


def test_answers_that_nobody_asks_for_are_let_go():
    ahead = Ahead(lambda x: x, nothing)
    for number in range(2 * LARGEST_LEAD):
        ahead.announce(number)
    assert len(ahead._coming) == LARGEST_LEAD
    assert ahead(LARGEST_LEAD) == LARGEST_LEAD and len(ahead._coming) == LARGEST_LEAD - 1
    ahead.close()


def test_a_failure_is_raised_where_the_answer_is_wanted():
    ahead = Ahead(lambda x: 1 // x, nothing)
    zero = 0
    ahead.announce(zero)
    with pytest.raises(ZeroDivisionError):
        ahead(zero)
    ahead.close()


def test_more_is_done_with_an_answer_until_somebody_asks_for_it():
    seen, enough, go_on = [], threading.Event(), threading.Event()

    def further(answer: int) -> bool:
        seen.append(answer)
        if len(seen) == 3:
            enough.set()
            assert go_on.wait(60)
        return len(seen) < 100

    ahead, seven = Ahead(lambda x: x, further), 7
    ahead.announce(seven)
    assert enough.wait(60)
    assert ahead(seven) == 7
    go_on.set()
    ahead.close()  # waits for the step under way
    assert seen == [7, 7, 7]


def test_half_of_the_threads_is_rounded_up_and_given_back():
    before = torch.get_num_threads()
    try:
        for whole, half in ((1, 1), (2, 1), (3, 2), (4, 2)):
            torch.set_num_threads(whole)
            with torch_threads():
                assert torch.get_num_threads() == half
            assert torch.get_num_threads() == whole
    finally:
        torch.set_num_threads(before)


def test_threads_that_come_while_others_are_in_a_block_leave_all_as_it_was():
    before = torch.get_num_threads()
    seen, inside, leave = [], threading.Event(), threading.Event()

    def first() -> None:
        with torch_threads():
            inside.set()
            leave.wait(30)

    def second() -> None:
        with torch_threads():
            seen.append(torch.get_num_threads())
            with torch_threads():
                seen.append(torch.get_num_threads())
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    def asked(function: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=function)
        thread.start()
        return thread

    try:
        torch.set_num_threads(8)
        one = asked(first)
        assert inside.wait(30)
        asked(second).join()
        leave.set()
        one.join()
        asked(lambda: seen.append(torch.get_num_threads())).join()
        assert seen == [4, 2, 4, 8, 8] and torch.get_num_threads() == 8
    finally:
        torch.set_num_threads(before)


class Queue:
    """Stands in for a GPU's: notes what waits for what."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name, self.notes = name, notes

    def wait_stream(self, other: "Queue") -> None:
        self.notes.append(f"{self.name} waits for {other.name}")

    def record_event(self) -> str:
        return f"the end of {self.name}"

    def wait_event(self, event: str) -> None:
        self.notes.append(f"{self.name} waits for {event}")


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch):
    """Return what computes on a GPU that there need not be, and the notes of its queues, with what it computes."""
    notes: list[str] = []
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Queue("this", notes))
    monkeypatch.setattr(torch.cuda, "stream", lambda queue: nullcontext())
    monkeypatch.setattr(ahead, "queue", lambda device: Queue("the other", notes))

    def compute(calls: list[tuple[int, int]]) -> list[int]:
        notes.append(f"computes {calls}")
        return [sum(numbers) for numbers in calls]

    return AheadOnGPU(compute, torch.device("cuda")), notes


def test_a_gpu_is_asked_when_it_would_be_waited_for(on_a_gpu):
    encode, notes = on_a_gpu
    encode.announce(lambda: notes.append("reads") or [(1, 2)])
    assert notes == []
    encode.begin()
    encode.begin()
    assert encode(1, 2) == 3
    assert notes == [
        *("reads", "the other waits for this", "computes [(1, 2)]"),
        "this waits for the end of the other",
    ]


def test_a_gpu_computes_several_at_once_and_is_asked_again_when_they_are_taken(on_a_gpu):
    encode, notes = on_a_gpu
    for number in range(7):  # of calls with (0, 0), (1, 1), ...
        encode.announce(lambda number=number: [(n, n) for n in range(number, min(7, number + 3))])
        if number:
            encode.begin()
        assert encode(number, number) == 2 * number
    assert [note for note in notes if note.startswith("computes")] == [
        "computes [(0, 0)]",
        "computes [(1, 1), (2, 2), (3, 3)]",
        "computes [(4, 4), (5, 5), (6, 6)]",
    ]
    assert notes.count("this waits for the end of the other") == 2


def test_a_gpu_computes_at_once_what_was_not_begun(on_a_gpu):
    encode, notes = on_a_gpu
    encode.announce(lambda: [(1, 2)])
    assert encode(1, 2) == 3 and notes == ["computes [(1, 2)]"]


def test_a_gpu_waits_for_what_nobody_asks_for_before_it_goes_on(on_a_gpu):
    encode, notes = on_a_gpu
    encode.announce(lambda: [(1, 2), (2, 3)])
    encode.begin()
    assert encode(3, 4) == 7
    assert notes[-2:] == ["this waits for the end of the other", "computes [(3, 4)]"]
    assert encode(1, 2) == 3 and notes[-1] == "computes [(1, 2)]"


def test_what_is_passed_over_is_let_go(on_a_gpu):
    """As the first frame behind a cut, which was decoded when it was looked at ahead."""
    encode, notes = on_a_gpu
    encode.announce(lambda: [(1, 1), (2, 2), (3, 3)])
    encode.begin()
    assert (encode(1, 1), encode(3, 3)) == (2, 6)
    assert encode(2, 2) == 4 and notes[-1] == "computes [(2, 2)]"


def test_a_gpu_has_nothing_to_begin_at_the_end_of_a_video(on_a_gpu):
    encode, notes = on_a_gpu
    encode.begin()
    encode.announce(list)
    encode.begin()
    encode.announce(lambda: [(1, 2)])
    encode.close()
    encode.begin()
    assert notes == []


@pytest.mark.parametrize("given", [True, False])
def test_of_a_video_that_ended_nothing_is_left_to_the_garbage_collector(tiny_model: Segmenter, given: bool):
    """A GPU's memory would wait for it, and it does not know how much that is."""

    def run() -> None:
        list(tiny_model.stream(map(squares, range(FRAMES)), first_mask=square_labels() if given else None))

    run()  # what is set up once
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        run()
        gc.collect()
        assert not [left for left in gc.garbage if isinstance(left, torch.Tensor)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
