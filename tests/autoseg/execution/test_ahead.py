import threading

import pytest

from autoseg.execution.ahead import ahead


def counted(count, made, *, error_at=None):
    for number in range(count):
        if number == error_at:
            raise ValueError(f"item {number}")
        made.append(number)
        yield number


def wait_until(condition):
    for _ in range(500):
        if condition():
            return True
        threading.Event().wait(0.01)
    return False


def test_items_come_in_their_order():
    assert list(ahead(counted(50, []), 3)) == list(range(50))


def test_the_next_items_are_made_while_one_is_worked_on():
    made = []
    items = ahead(counted(50, made), 2)
    assert next(items) == 0
    assert wait_until(lambda: made == [0, 1, 2, 3])  # two lie ready, one waits to be taken
    threading.Event().wait(0.05)
    assert made == [0, 1, 2, 3]


def test_an_error_is_raised_in_its_turn():
    items = ahead(counted(5, [], error_at=2))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="item 2"):
        next(items)


def test_nothing_more_is_made_once_the_caller_stops():
    made = []
    items = ahead(counted(50, made))
    assert next(items) == 0
    assert wait_until(lambda: len(made) == 3)
    items.close()
    before = threading.active_count()
    threading.Event().wait(0.3)
    assert len(made) <= 4
    assert threading.active_count() <= before
