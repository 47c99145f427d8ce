"""
Delivering in this process, beside whatever else it does.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable

from backlog_store.backlog import Backlog
from backlog_store.webhooks.delivering import Deliverer
from backlog_store.webhooks.outlets import Outlets

__all__ = ["Delivery", "deliverer"]


def deliverer(backlog: Backlog, outlets: Outlets, heard: Callable[[str], None] = lambda _: None) -> Deliverer:
    """
    Return what delivers in the name of this process.
    """
    holder = f"{socket.gethostname()}/{os.getpid()}/{backlog.ids()[:8]}"
    return Deliverer(backlog, outlets, holder=holder, jitter=lambda: int(backlog.ids()[:8], 16) / 2**32, heard=heard)


class Delivery:
    """
    A thread that delivers until it is stopped.
    """

    def __init__(self, backlog: Backlog, outlets: Outlets, heard: Callable[[str], None]) -> None:
        self._stop = threading.Event()
        work = deliverer(backlog, outlets, heard)
        self._thread = threading.Thread(target=work.run, args=(self._stop,), name="webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """
        Begin nothing more; what is being sent is waited for, and the lease is given back.
        """
        self._stop.set()
        self._thread.join(10)
