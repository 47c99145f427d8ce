"""
Bytes of a report: read once into one buffer, at most so many, and read again from there.
"""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

from backlog_store.errors import Fault, InvalidInput

__all__ = ["REPORT_BYTES_MAX", "Chained", "check_utf8", "read_all"]

REPORT_BYTES_MAX = 1024 * 1024 * 1024
_CHUNK = 1024 * 1024


def read_all(stream: BinaryIO) -> bytearray:
    """
    Return the rest of *stream*, without a UTF-8 byte order mark. Raises `InvalidInput` beyond `REPORT_BYTES_MAX`.
    """
    data = bytearray()
    while chunk := stream.read(_CHUNK):
        data += chunk
        if len(data) > REPORT_BYTES_MAX:
            reason = f"more than {REPORT_BYTES_MAX // 2**20} MiB; split the report"
            raise InvalidInput([Fault("", f"{len(data)} bytes and more", reason)], what="report")
    if data.startswith(b"\xef\xbb\xbf"):
        del data[:3]
    return data


def check_utf8(data: bytearray) -> None:
    """
    Refuse what is no UTF-8. Raises `InvalidInput` with line and byte.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    with memoryview(data) as view:
        for start in range(0, len(data) + 1, _CHUNK):
            pending = len(decoder.getstate()[0])
            chunk = view[start : start + _CHUNK]
            try:
                decoder.decode(chunk, final=start + _CHUNK > len(data))
            except UnicodeDecodeError as error:
                offset = start - pending + error.start
                line = data.count(b"\n", 0, offset) + 1
                reason = f"not UTF-8: {error.reason}; convert it first (iconv -t UTF-8)"
                raise InvalidInput([Fault("", f"line {line} (byte {offset})", reason)], what="report") from None


class Chained(io.RawIOBase):
    """
    Some bytes, then the rest of a stream, if there is one.
    """

    def __init__(self, head: bytes | bytearray, rest: BinaryIO | None = None) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        """
        Tell that it can be read.
        """
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """
        Fill *buffer* with the next bytes.
        """
        chunk: bytes | memoryview
        chunk, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        if not chunk and self._rest is not None:
            chunk = self._rest.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)
