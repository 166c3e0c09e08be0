"""What a worker has in memory: the group that it processes, and the one that it reads meanwhile."""

import threading

import pytest

from onedpiece.datasets import workers
from onedpiece.datasets.workers import Failure, in_groups
from onedpiece.errors import DeviceError, OdpError

PIXELS = workers.PIXELS_OF_GROUP // 2  # two items are a group


def identity(item):
    return item


def test_results_are_in_the_order_of_the_items_and_failures_in_their_places():
    def read(item):
        if item == 2:
            raise OdpError("damaged")
        return item

    def process(group):
        if 5 in group:
            raise ValueError("too hard")
        return [10 * item for item in group]

    results = in_groups(list(range(7)), read, lambda item: PIXELS, process)
    assert results[2] == Failure("damaged")
    assert results[5] == Failure("ValueError('too hard')")
    assert [results[index] for index in (0, 1, 3, 4, 6)] == [0, 10, 30, 40, 60]


def test_the_next_group_is_read_while_one_is_processed():
    was_read = threading.Event()

    def read(item):
        if item == 3:
            was_read.set()
        return item

    def process(group):
        assert was_read.wait(30)
        return group

    assert in_groups(list(range(4)), read, lambda item: PIXELS, process) == [0, 1, 2, 3]


@pytest.mark.parametrize(("pixels", "expected"), [(PIXELS, 4), (workers.PIXELS_READ_AHEAD + 1, 1)])
def test_no_more_is_in_memory_than_two_groups_or_one_large_picture(pixels, expected):
    most, started, done = 0, 0, 0

    def read(item):
        nonlocal started, most
        started += 1
        most = max(most, started - done)
        return item

    def process(group):
        nonlocal done
        done += len(group)
        return group

    assert in_groups(list(range(12)), read, lambda item: pixels, process) == list(range(12))
    assert most <= expected


def test_what_stops_every_item_stops_at_once():
    def process(group):
        raise DeviceError("no GPU")

    with pytest.raises(DeviceError, match="no GPU"):
        in_groups([1, 2, 3], identity, lambda item: PIXELS, process)


def test_nothing_gives_nothing():
    assert in_groups([], identity, lambda item: PIXELS, identity) == []
