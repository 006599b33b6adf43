"""A job in parts that several threads do together."""

import threading
from functools import partial

import pytest

from rvos_cli.model.shares import Shares


def test_each_part_is_done_once_and_results_come_in_order():
    done: list[int] = []

    def part(number: int) -> int:
        done.append(number)
        return 10 * number

    shares = Shares([partial(part, number) for number in range(5)])
    assert shares.take() and done == [0]
    assert shares.results() == [0, 10, 20, 30, 40]
    assert done == [0, 1, 2, 3, 4] and not shares.take()
    assert shares.results() == [0, 10, 20, 30, 40]


def test_whoever_wants_the_results_does_the_rest_and_waits_for_what_others_are_at():
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert go_on.wait(60)
        return threading.current_thread().name

    def quick() -> str:
        go_on.set()
        return threading.current_thread().name

    shares = Shares([slow, quick])
    other = threading.Thread(target=shares.take, name="other")
    other.start()
    assert begun.wait(60)
    assert shares.results() == ["other", threading.current_thread().name]
    other.join()


def test_a_failure_is_raised_where_the_results_are_wanted():
    shares = Shares([lambda: 1 // 0, lambda: 2])
    assert shares.take()
    with pytest.raises(ZeroDivisionError):
        shares.results()
