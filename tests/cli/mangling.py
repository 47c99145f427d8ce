"""
Input that is nearly right: bytes and JSON with a few faults, drawn by a seed.
"""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

__all__ = ["HOSTILE", "mangled", "mangled_json", "mangled_lines"]

#: Texts that programs stumble over.
HOSTILE = (
    "", " ", "\0", "\n", "\t", "'", '"', "\\", "%", "=1+1", "-1", "--", "-x", "1e999", "NaN", "null", "true", "[]",
    "{}", "\ud800", "\u202e", "\ufeff", "é" * 300, "x" * 70_000, "😀", "../../etc/passwd", "{{7*7}}", "<script>",
    "\x1b[2J", "9999-12-31", "2026-02-30", "0000-00-00", "P0", "P9", "open", "bl_", "bl_%", "*", "id:*", "9" * 400,
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**53, 2**64, 10**400, 1.5, -0.0, 1e300, [], {}, [[]], [None], {"": None},
    {"a": {"b": []}},
)  # fmt: skip
_PIECES = (b"", b"\0", b"\n", b"\r\n", b"\t", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\ud800", b"\xff",
           b"\xed\xa0\x80", b"\xef\xbb\xbf", b"null", b"NaN", b"1e999", b"-", b"<", b"&x;", b"<!DOCTYPE a>",
           b"9" * 30)  # fmt: skip


def mangled(data: bytes, random: Random) -> bytes:
    """
    Return *data* with one to three faults: bytes changed, put in, taken out, repeated or cut off.
    """
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(data) + 1)
        end = min(len(data), at + random.choice((1, 1, 1, 2, 8, 64, 1_000)))
        match random.randrange(6):
            case 0:
                data = (
                    data[:at] + bytes(byte ^ (1 << random.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 :]
                )
            case 1:
                data = data[:at] + random.choice(_PIECES) + data[at:]
            case 2:
                data = data[:at] + data[end:]
            case 3:
                data = data[:end] + data[at:end] + data[end:]
            case 4:
                data = data[:at] + random.randbytes(end - at) + data[end:]
            case _:
                data = data[:at] if random.random() < 0.5 else data[at:]
    return data


def mangled_lines(data: bytes, random: Random) -> bytes:
    """
    Return *data* with whole lines repeated, lost, in another order, or `mangled`.
    """
    lines = data.splitlines(keepends=True)
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(5):
        case 0:
            lines.insert(one, lines[other])
        case 1:
            del lines[one]
        case 2:
            lines[one], lines[other] = lines[other], lines[one]
        case 3:
            lines[one] = mangled(lines[one], random)
        case _:
            return mangled(data, random)
    return b"".join(lines)


def mangled_json(value: Any, random: Random) -> Any:
    """
    Return a copy of JSON data in which one to three members are another value, have another name, or are gone.
    """
    value = json.loads(json.dumps(value))
    for _ in range(random.randint(1, 3)):
        holder = value
        while isinstance(holder, dict | list) and holder:
            name = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if not isinstance(holder[name], dict | list) or not holder[name] or random.random() < 0.2:
                _change(holder, name, random)
                break
            holder = holder[name]
    return value


def _change(holder: Any, name: Any, random: Random) -> None:
    match random.randrange(5):
        case 0:
            del holder[name]
        case 1 if isinstance(holder, dict):
            holder[random.choice(HOSTILE)] = holder.pop(name)
        case 2 if isinstance(holder, list):
            holder.insert(name, holder[name])
        case 3:
            holder[name] = deepcopy(random.choice(_VALUES))
        case _:
            holder[name] = random.choice(HOSTILE)
