"""
Progress of long inputs: on a terminal, with rate and time left.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from backlog_store.verify import Watch, silent

__all__ = ["told", "watched"]

#: Smaller inputs are read before anybody could read a bar.
_WORTH_BYTES = 2 * 1024 * 1024


@contextmanager
def watched(stream: BinaryIO, what: str) -> Iterator[BinaryIO]:
    """
    Give the stream to read; draw how far it was read, if stderr is a terminal and the stream a large file.
    """
    size = _size(stream)
    if not sys.stderr.isatty() or size < _WORTH_BYTES:
        yield stream
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
        progress.wrap_file(stream, total=size, description=what) as reader,
    ):
        yield reader


def _size(stream: BinaryIO) -> int:
    try:
        return os.fstat(stream.fileno()).st_size
    except OSError:
        return 0


@contextmanager
def told() -> Iterator[Watch]:
    """
    Give what is told (what, how much so far, of how much) and draws it, if stderr is a terminal.
    """
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("")

        def draw(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total or None)

        yield draw
