"""
Reading the old JSON Lines files, whatever happened to them: nothing that can be read is passed over.

The original module appended without syncing and rewrote in place. So its files hold lines that a crash cut off (with
the next, acknowledged line glued behind), bytes that are no UTF-8, blocks of NUL after a power cut. Each such place is
a fault to tell; what is whole behind it is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["LINE_MAX", "Line", "Span", "read_lines"]

#: A longer line is no line of this form; it is told, and not read.
LINE_MAX = 8 * 1024 * 1024
_CHUNK = 1024 * 1024
#: So many places of a damaged line are tried as the beginning of a whole one.
_ATTEMPTS = 50
_BOM = b"\xef\xbb\xbf"


class Line(NamedTuple):
    r"""
    What one line says: the objects on it, and what is wrong with it. *at* is its first byte, *number* counts from 1.

    *original* is the line with its bad bytes as ``\xff``, where it has any.
    """

    at: int
    number: int
    values: list[dict[str, Any]]
    fault: str = ""
    is_whole: bool = True  # false: the file ends before the line does
    original: str = ""


class Span(NamedTuple):
    """
    A place in a file behind which reading goes on: the byte, and how many lines lie before it.
    """

    at: int = 0
    lines: int = 0


def read_lines(path: Path, start: Span, end: int) -> Iterator[Line]:
    """
    Yield the lines of *path* from *start* up to byte *end* that hold something, or are damaged. Raises `OSError`.
    """
    at, number = start
    with path.open("rb") as file:
        file.seek(at)
        ahead = b""
        left = end - at
        skipping = False
        while left > 0 and (data := file.read(min(_CHUNK, left))):
            left -= len(data)
            *whole, ahead = (ahead + data).split(b"\n")
            for raw in whole:
                number += 1
                if skipping or raw.strip(b" \t\r\0"):
                    yield _line(at, number, raw, too_long=skipping or len(raw) > LINE_MAX)
                skipping = False
                at += len(raw) + 1
            if len(ahead) > LINE_MAX:
                # Its end may be far away: keep its length, not its bytes.
                skipping, at, ahead = True, at + len(ahead), b""
        if ahead.strip(b" \t\r\0"):
            yield _line(at, number + 1, ahead)._replace(is_whole=False)


def _line(at: int, number: int, raw: bytes, *, too_long: bool = False) -> Line:
    if too_long:
        return Line(at, number, [], f"longer than {LINE_MAX} bytes")
    faults: list[str] = []
    if at == 0 and raw.startswith(_BOM):
        raw = raw[len(_BOM) :]
    if b"\0" in raw:
        faults.append(f"{raw.count(0)} NUL bytes")
        raw = raw.replace(b"\0", b"")
    original = ""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        faults.append(f"byte {error.start} of it ({raw[error.start]:#04x}) is no UTF-8")
        text, original = raw.decode("utf-8", "replace"), raw.decode("utf-8", "backslashreplace")
    values, fault = _objects(text.strip())
    return Line(at, number, values, "; ".join([*faults, *([fault] if fault else [])]), original=original)


def _objects(text: str) -> tuple[list[dict[str, Any]], str]:
    """
    Return the objects that stand one behind the other on a line, and what is wrong with the rest of it.
    """
    values: list[dict[str, Any]] = []
    position = 0
    fault = ""
    attempts = 0
    while position < len(text) and attempts < _ATTEMPTS:
        try:
            value, end = _decoder.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            fault = fault or f"no JSON at character {position}: {reason}"
            attempts += 1
            # A line that a crash cut off has the next one glued behind it, which begins as every line does.
            position = text.find('{"id"', position + 1)
            if position < 0:
                return values, fault
            continue
        if isinstance(value, dict):
            values.append(value)
        else:
            fault = fault or f"a JSON {type(value).__name__}, not an object"
        position = end
        while position < len(text) and text[position].isspace():
            position += 1
    if len(values) > 1 and not fault:
        fault = f"{len(values)} objects on one line"
    return values, fault


_decoder = json.JSONDecoder(strict=False)
