"""Processes that do the work of one: how many, and how they start."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any

__all__ = ["interrupts_wait", "process_pool", "processors", "termination_raises"]


def processors() -> list[int]:
    """The processors that this process may use."""
    try:
        return sorted(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return list(range(os.cpu_count() or 1))


def _worker_starts() -> None:
    # An interrupt is the parent's business: processes that are nearly done may finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Nobody waits for a worker whose parent was killed.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def interrupts_wait() -> Iterator[None]:
    """While inside, Ctrl-C waits for the end: a process whose start is cut short ends with a traceback of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        # None where not Python set it.
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)
    if came:
        raise KeyboardInterrupt


@contextlib.contextmanager
def termination_raises() -> Iterator[None]:
    """While inside, a signal to end ends by an exception, so that what was begun is undone and children end too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _frame: object) -> None:
        # As a shell says that a signal ended a command.
        raise SystemExit(128 + number)

    # Who ignores a signal (nohup) or does something of their own keeps that.
    ours = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


class _Process(SpawnProcess):
    """A process that does not run the parent's script again.

    Our work is all in modules, and a script without `if __name__ == "__main__":` would do everything once more.
    """

    _starting = threading.Lock()

    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802
        with _Process._starting:
            script = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                return SpawnProcess._Popen(process_obj)
            finally:
                sys.modules["__main__"] = script


class _Context(SpawnContext):
    Process = _Process


def process_pool(workers: int, *, fresh: bool = False) -> ProcessPoolExecutor:
    """A pool of processes that start anew, without what this one holds in memory, and leave interrupts to it.

    Args:
        workers: How many.
        fresh: Whether each task has a process of its own.
    """
    tasks = 1 if fresh else None
    return ProcessPoolExecutor(workers, mp_context=_Context(), initializer=_worker_starts, max_tasks_per_child=tasks)
