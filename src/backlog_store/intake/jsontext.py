"""
Reading JSON reports: one buffer, parsed twice, so that a large report costs little more than its own size.

The whole text is checked first (a truncated report is refused before anything of it is taken in), and only its skeleton
is built: the findings stay slices of the buffer (`msgspec.Raw`) and are decoded one by one. A 200 MB report needs about
250 MB. The reasons and the measurements are in docs/adr.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO, TypeVar

import msgspec

from backlog_store.errors import Fault, InvalidInput
from backlog_store.intake.streams import read_all

__all__ = ["decode", "read_json"]

T = TypeVar("T")

_BYTE = re.compile(r"\s*\(byte (\d+)\)")
_PATH = re.compile(r" - at (?:the key path|key in)? ?`(.*)`$|, at `(.*)`$")
#: The first half of a pair without its second; the decoder notices it up to two escapes later.
_SURROGATE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])")
_SURROGATE_REACH = 18
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def read_json(stream: BinaryIO, cls: type[T]) -> T:
    """
    Return the whole of *stream* as a *cls*. Raises `InvalidInput` with line, column and byte of the fault.
    """
    return decode(read_all(stream), cls, "")


def decode(data: Any, cls: type[T], pointer: str) -> T:
    """
    Return JSON *data* (bytes or `msgspec.Raw`) as a *cls*.

    Raises `InvalidInput` whose fault points at the member, *pointer* standing before it.
    """
    try:
        return msgspec.json.decode(data, type=cls)
    except msgspec.ValidationError as error:
        reason, place = _split(str(error))
        raise InvalidInput([Fault(pointer + place, "", reason)], what="report") from None
    except msgspec.DecodeError as error:
        raise InvalidInput([_malformed(str(error), bytes(memoryview(data)), pointer)], what="report") from None
    except UnicodeDecodeError as error:
        raise InvalidInput([Fault(pointer, "", f"not UTF-8: {error.reason}")], what="report") from None
    except RecursionError:
        raise InvalidInput([Fault(pointer, "", "nested too deeply")], what="report") from None


def _split(message: str) -> tuple[str, str]:
    """
    Cut msgspec's place (``$.locations[0].uri``) off its message and write it as a JSON pointer.
    """
    found = _PATH.search(message)
    if not found:
        return message[:1].lower() + message[1:], ""
    steps = _STEP.findall(found.group(1) or found.group(2))
    reason = message[: found.start()]
    return reason[:1].lower() + reason[1:], "".join(f"/{name or index}" for name, index in steps)


def _malformed(message: str, data: bytes, pointer: str) -> Fault:
    found = _BYTE.search(message)
    offset = int(found.group(1)) if found else len(data)
    reason = _BYTE.sub("", message).removeprefix("JSON is malformed: ")
    near = max(0, offset - _SURROGATE_REACH)
    if lone := _SURROGATE.search(data, near, offset):
        offset, reason = lone.start(), "a lone surrogate is no character"
    elif "truncated" in reason:
        reason = "ends in the middle: the report was cut off"
    line = data.count(b"\n", 0, offset) + 1
    column = offset - (data.rfind(b"\n", 0, offset) + 1) + 1
    return Fault(pointer, f"line {line}, column {column} (byte {offset})", f"not valid JSON: {reason}")
