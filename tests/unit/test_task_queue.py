"""Which files are read next: large ones before they become the last, the others in their order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuramori.archiving.folder import FileTask, Folder
from kuramori.archiving.task_queue import TaskQueue

MIB = 1 << 20
FOLDER = Folder(b"data", b"/data", b"/data", None, 0, None)


def task(size: int, names: int = 1) -> FileTask:
    return FileTask(FOLDER, [b"name"] * names, [0] * names, [None] * names, size)


def queue_of(*sizes: int) -> TaskQueue:
    queue = TaskQueue()
    for size in sizes:
        queue.put(task(size))
    return queue


def take_all(queue: TaskQueue) -> list[int]:
    return [queue.take()[1].size for _ in range(len(queue))]


def test_the_largest_come_first_and_the_others_in_their_order() -> None:
    assert take_all(queue_of(3, 60 * MIB, 1, 32 * MIB, 2, 90 * MIB)) == [90 * MIB, 60 * MIB, 32 * MIB, 3, 1, 2]


def test_one_that_comes_later_is_not_the_last() -> None:
    queue = queue_of(1, 2, 3)
    assert queue.take()[1].size == 1
    queue.put(task(50 * MIB))
    assert take_all(queue) == [50 * MIB, 2, 3]


def test_equal_ones_come_in_their_order_and_each_has_its_number() -> None:
    queue = queue_of(*[40 * MIB] * 5, *[1] * 5)
    assert [queue.take()[0] for _ in range(10)] == [*range(10)]


def test_several_photographs_together_stay_beside_those_of_their_folder() -> None:
    sizes = [9 * MIB, 12 * MIB, 3 * MIB, 16 * MIB, 10 * MIB]
    assert take_all(queue_of(*sizes)) == sizes


def test_nothing_is_no_task() -> None:
    with pytest.raises(IndexError):
        TaskQueue().take()


@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 60 * MIB), st.integers(1, 64)))))
def test_what_waits_is_counted(steps: list[tuple[int, int] | None]) -> None:
    queue = TaskQueue()
    waiting: dict[int, FileTask] = {}
    put = 0
    for step in steps:
        if step is not None:
            queue.put(waiting.setdefault(put, task(*step)))
            put += 1
        elif waiting:
            number, taken = queue.take()
            assert waiting.pop(number) is taken
        assert len(queue) == len(waiting)
        assert queue.waiting_bytes == sum(one.size for one in waiting.values())
        assert queue.waiting_files == sum(len(one.names) for one in waiting.values())
