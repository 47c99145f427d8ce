"""
Progress of long inputs: on a terminal, with rate and time left.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

__all__ = ["watched"]

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
