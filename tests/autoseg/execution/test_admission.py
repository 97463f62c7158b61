"""Which item may start beside those that run, on small numbers of bytes."""

import pytest

from autoseg.execution.admission import Loss, Queue, Task, gave_up, list_tasks


def _tasks(*sizes):
    return [
        Task(index=index, item=index, name=f"case {index}", needed_bytes=size)
        for index, size in enumerate(sizes)
    ]


def _start_all(queue, running):
    started = []
    while (task := queue.pop([*running, *started])) is not None:
        started.append(task)
    return [task.index for task in started]


@pytest.mark.parametrize(
    ("sizes", "started"),
    [
        pytest.param((60, 60), [0], id="two-of-60-do-not-fit"),
        pytest.param((50, 50), [0, 1], id="two-of-50-just-fit"),
        pytest.param((10, 30, 60), [2, 1, 0], id="the-largest-starts-first"),
        pytest.param((30, 70, 60), [1, 0], id="a-smaller-one-passes-one-that-does-not-fit"),
        pytest.param((0, 0, 0), [0, 1, 2], id="without-estimates-in-order"),
        pytest.param((100, 1), [0], id="one-fills-the-budget"),
    ],
)
def test_what_starts_at_first_in_a_budget_of_100(sizes, started):
    assert _start_all(Queue(_tasks(*sizes), 100), []) == started


def test_room_is_made_by_what_ends():
    first, second = _tasks(60, 60)
    queue = Queue([first, second], 100)
    assert queue.pop([]) is first
    assert queue.pop([first]) is None
    assert queue.pop([]) is second


def test_suspects_start_one_by_one_after_all_others():
    a, b, c = _tasks(10, 10, 10)
    queue = Queue([a, b, c], 100)
    assert queue.pop([]) is a
    assert queue.pop([a]) is b
    for task in (a, b):
        task.losses.append(Loss(ending="ended with exit code 3", ran_s=1.0))
        queue.put_back(task)
    assert queue.pop([]) is c
    assert queue.pop([c]) is None
    assert queue.pop([]) is a
    assert queue.pop([a]) is None
    assert queue.pop([]) is b
    assert queue.pop([]) is None


def test_an_item_whose_worker_did_not_even_start_is_no_suspect():
    a, b = _tasks(10, 10)
    queue = Queue([a, b], 100)
    assert queue.pop([]) is a
    queue.put_back(a)
    assert queue.pop([]) is a
    assert queue.pop([a]) is b


def test_what_is_behind_a_bug_does_not_start():
    tasks = _tasks(1, 1, 1, 1)
    queue = Queue(tasks[1:], 100)
    tasks[0].losses.append(Loss(ending="ended with exit code 3", ran_s=1.0))
    queue.put_back(tasks[0])
    queue.drop_behind(2)
    assert [queue.pop([]), queue.pop([]), queue.pop([])] == [tasks[1], tasks[0], None]


def test_limits_are_one_number_or_a_function_of_the_item():
    arguments = {"name": "case {}".format, "memory_bytes": lambda item: 10 * item}
    first, second = list_tasks([3, 4], timeout_s=lambda item: item / 2, **arguments)
    assert (first.name, first.needed_bytes, first.timeout_s) == ("case 3", 30, 1.5)
    assert (second.index, second.item, second.timeout_s) == (1, 4, 2.0)
    assert list_tasks([3], timeout_s=7.0, name=str, memory_bytes=None)[0].timeout_s == 7.0
    assert list_tasks([3], timeout_s=None, name=str, memory_bytes=None)[0].needed_bytes == 0


def test_the_verdict_tells_both_attempts_and_the_memory():
    (task,) = _tasks(3 * 2**29)
    task.losses += [
        Loss(ending="was ended by SIGKILL", ran_s=12.34),
        Loss(ending="ended with exit code 3", ran_s=0.5),
    ]
    assert gave_up(task, 2**31).text == (
        "E-RES-66 case 0: its worker process was ended by SIGKILL after 12.3 s and, with nothing "
        "beside it, ended with exit code 3 after 0.5 s; it needs about 1.5 GiB and this process "
        "may use 2 GiB of memory"
    )


def test_in_their_order_items_wait_for_the_next_and_a_suspect_goes_first():
    tasks = _tasks(40, 70, 10)
    queue = Queue(tasks, 100, in_order=True)
    first = queue.pop([])
    assert first is tasks[0]
    assert queue.pop([first]) is None  # the next needs 70, though the last would fit
    first.losses.append(Loss(ending="was ended by SIGKILL", ran_s=1.0))
    queue.put_back(first)
    assert queue.pop([]) is first
    assert [queue.pop([]), queue.pop([tasks[1]])] == tasks[1:]
