"""
What the system says, as this backend raises it.
"""

from __future__ import annotations

from backlog_store.backends.faults import FULL, system_error
from backlog_store.errors import BackendError

__all__ = ["FULL", "NAME", "backend_error"]

NAME = "jsonl"


def backend_error(operation: str, path: str, error: OSError) -> BackendError:
    """
    Return what to raise for an error of the system; nothing was executed. The caller makes *error* its cause.
    """
    return system_error(NAME, operation, path, error)
