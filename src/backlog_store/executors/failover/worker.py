"""
The one thread in the background: it probes, drains and feeds, by calling the executor's `step` when something is due.
"""

from __future__ import annotations

import logging
import threading
import weakref
from typing import Protocol

__all__ = ["Steps", "Worker"]

_PAUSE_MIN_S = 0.001
_PAUSE_AFTER_FAULT_S = 1.0
_JOIN_S = 1.0

_log = logging.getLogger("backlog_store")


class Steps(Protocol):
    """
    What is done in steps.
    """

    def step(self) -> float:
        """
        Do what is due; return in how many seconds more is due.
        """
        ...


class Worker:
    """
    A daemon thread that holds no executor alive: one that was forgotten ends it.
    """

    def __init__(self, owner: Steps) -> None:
        self._owner = weakref.ref(owner)
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_stopped = False

    @property
    def is_running(self) -> bool:
        """
        Tell whether the thread is there.
        """
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """
        Start the thread, unless it runs or was stopped.
        """
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self._is_stopped:
                self._thread = threading.Thread(
                    target=_run, args=(self._owner, self._wake, self), name="backlog-auto", daemon=True
                )
                self._thread.start()

    def wake(self) -> None:
        """
        Let the next step begin now.
        """
        self._wake.set()

    def stop(self) -> None:
        """
        End the thread; one that is just waiting for a database ends by itself as soon as that has answered or not.
        """
        self._is_stopped = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)

    @property
    def is_stopped(self) -> bool:
        """
        Tell whether `stop` was called.
        """
        return self._is_stopped


def _run(owner: weakref.ref[Steps], wake: threading.Event, worker: Worker) -> None:
    while not worker.is_stopped:
        executor = owner()
        if executor is None:
            return
        wake.clear()
        try:
            pause = executor.step()
        except Exception:  # noqa: BLE001 - whatever it is, accepted commands must go on to arrive
            if worker.is_stopped:
                return
            # A fault of this program: it must not end the drain for good.
            _log.exception("a step of failover failed; it goes on")
            pause = _PAUSE_AFTER_FAULT_S
        del executor
        wake.wait(max(pause, _PAUSE_MIN_S) if pause else 0)
