"""
The file system is the real one: what a store asks of it is asked of the system.
"""

from __future__ import annotations

import os

import pytest

from backlog_store.backends.fs import FileSystem


def test_a_sync_asks_the_system() -> None:
    """A pipe cannot be synced, and the system says so: the call arrives there, and its refusal here."""
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match=r"Errno"):
            FileSystem().sync_data(writing)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_sync_of_a_folder_asks_the_system() -> None:
    """A folder that lies on no disk cannot be synced, and the system says so."""
    with pytest.raises(OSError, match=r"Errno"):
        FileSystem().sync_folder("/proc")
