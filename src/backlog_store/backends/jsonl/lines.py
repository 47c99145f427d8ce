"""
The form of a journal's lines; docs/reference/journal-format.md describes it for others.

Each line is JSON on its own, and each effect's body in it stands between two tabs. A canonical document holds no tab
(JSON escapes it), and between the tokens of a line tabs are white space, so a line is taken apart by its tabs, without
being parsed: reading 100,000 items takes a fifth of the time that decoding them does.

The checksum is CRC-32: `zlib` computes it at some GB/s where the digests of `hashlib` reach a tenth to a half of that,
and it is there to find accidents. What it may overlook (one torn line in four thousand million) is smaller than what
disks overlook; tampering is what the hash chain of an item's trail is for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from zlib import crc32

import msgspec

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.state import Effect

__all__ = [
    "FILLER", "LINE_MAX", "VERSION", "Damaged", "Header", "effects_of", "header_line", "header_of", "is_unfinished",
    "lines", "packed", "transaction_line", "used", "whole_line_within",
]  # fmt: skip

#: The version of the format that this program writes.
VERSION = 1
#: A transaction's line is at most so long, in bytes.
LINE_MAX = 8 * 1024 * 1024

#: What fills the space reserved behind the last line: a byte that no line holds but at its end, and that every tool
#: for lines of JSON passes over.
FILLER = b"\n"

#: Compaction collects effects into lines of about so many bytes.
_LINE_GOAL = 1024 * 1024
_FORMAT = "backlog-store journal"
_CHUNK_MIN, _CHUNK_MAX = 64 * 1024, 4 * 1024 * 1024
_SECTOR = 512  # the least that a disk writes as one; larger ones are multiples of it
_HOLES = FILLER + b"\0"  # what stands where a write never came: filler, or zeros where the file had just grown
_END = b"\t]}"  # of a transaction, before the newline
_START = b'{"sum":"'
_REST_AT = len(_START) + 8  # behind the checksum, which covers all from here to the newline
_HEAD = re.compile(rb'\{"sum":"[0-9a-f]{8}","seq":([0-9]{1,18}),"effects":\[("[a-z]+",)')
_KINDS = {b',"%s",' % kind: kind for kind in (b"item", b"event", b"record", b"purge", b"trim", b"drop", b"at")}


class Damaged(Exception):
    """
    A line is not as it was written; the text says in what way.
    """


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """
    The first line: the version of the format, how often the journal was rewritten, and its first sequence number.
    """

    format: str
    version: int
    generation: int = 0
    first: int = 0


def header_line(*, generation: int, first: int) -> bytes:
    """
    Return the first line of a journal.
    """
    rest = b'","format":"%s","version":%d,"generation":%d,"first":%d}' % (_FORMAT.encode(), VERSION, generation, first)
    return _summed(rest)


def header_of(line: bytes) -> Header:
    """
    Return what the first line says. Raises `Damaged`; what a newer version wrote is read as far as its version.
    """
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Damaged(f"the first line is no journal header ({error})") from error
    if header.format != _FORMAT:
        raise Damaged(f"the first line is the header of another format, {header.format!r}")
    if header.version <= VERSION:
        _check_sum(line)
    return header


def transaction_line(seq: int, effects: Iterable[Effect]) -> bytes:
    """
    Return the line of a transaction with at least one effect.
    """
    parts = [b'","seq":%d,"effects":[' % seq]
    for kind, body in effects:
        parts += (b',"', kind, b'",\t', body, b"\t")
    parts[1] = b'"'
    parts.append(b"]}")
    return _summed(b"".join(parts))


def packed(effects: Iterable[Effect]) -> list[list[Effect]]:
    """
    Return *effects* in lists, each of about one mebibyte, that make a line.
    """
    found: list[list[Effect]] = []
    room = 0
    for effect in effects:
        if room <= 0 or len(effect[1]) > LINE_MAX - _LINE_GOAL:
            found.append([])
            room = _LINE_GOAL
        found[-1].append(effect)
        room -= len(effect[1])
    return found


def effects_of(line: bytes) -> tuple[int, Sequence[Effect]]:
    """
    Return sequence number and effects of a transaction's line. Raises `Damaged`.
    """
    _check_sum(line)
    pieces = line.split(b"\t")
    head = _HEAD.fullmatch(pieces[0])
    if head is None or len(pieces) % 2 == 0 or pieces[-1] != b"]}\n":
        raise Damaged("the line is whole, but no transaction")
    pieces[0] = b"," + head[2]
    try:
        kinds = [_KINDS[piece] for piece in pieces[:-1:2]]
    except KeyError as error:
        raise Damaged(f"the line is whole, but holds an unknown effect {error}") from error
    return int(head[1]), list(zip(kinds, pieces[1::2], strict=True))


def lines(fs: FileSystem, fd: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """
    Yield offset and bytes of each line from *start* to *end* or filler, with its newline; only the last may lack it.
    """
    at, ahead = start, b""
    offset, chunk = start, _CHUNK_MIN
    while offset < end:
        data = fs.read(fd, min(chunk, end - offset), offset)
        if not data:
            break
        offset, chunk = offset + len(data), min(2 * chunk, _CHUNK_MAX)
        *found, ahead = (ahead + data).split(b"\n")
        for line in found:
            if not line:  # filler
                return
            yield at, line + b"\n"
            at += len(line) + 1
    if ahead:
        yield at, ahead


def used(rest: bytes) -> int:
    """
    Return how long *rest*, all that follows the last whole line, is without the filler at its end.

    The newline that may be a last line's own counts as part of it.
    """
    length = len(rest.rstrip(FILLER))
    return length + rest.startswith(FILLER, length) if length else 0


def is_unfinished(rest: bytes, offset: int) -> bool:
    """
    Tell whether *rest*, from *offset* behind the last whole line, can be one write that never came to its end.

    Of such a write any sectors may have come and the others not; in an ended process' last write all from some byte
    on is missing. So no sector that is followed by others is half filler, and none holds bytes behind filler. What
    has no hole and ends as a line does was whole, and so did each line that another one follows: they were
    acknowledged, and are damaged.
    """
    body = rest.rstrip(_HOLES)
    if FILLER in body:
        for start in range(-(offset % _SECTOR), len(body), _SECTOR):
            sector = body[max(start, 0) : start + _SECTOR]
            if FILLER in sector and sector.strip(_HOLES):
                return False
    elif b"\0" not in body and body.endswith(_END) and rest.startswith(FILLER, len(body)):
        return False
    return not whole_line_within(body + b"\n")


def whole_line_within(line: bytes) -> int:
    """
    Return where, behind its first byte, a damaged line holds a whole one to its end; 0 if it holds none.

    Where a newline was damaged two lines look like one. The second was written after the first was acknowledged, so
    the two are no unfinished write.
    """
    at = line.find(_START, 1)
    while at > 0:
        try:
            effects_of(line[at:])
        except Damaged:
            at = line.find(_START, at + 1)
        else:
            return at
    return 0


def _summed(rest: bytes) -> bytes:
    return b"%s%08x%s\n" % (_START, crc32(rest), rest)


def _check_sum(line: bytes) -> None:
    if not line.endswith(b"\n"):
        raise Damaged("the line breaks off")
    if line[:_REST_AT] != b"%s%08x" % (_START, crc32(memoryview(line)[_REST_AT:-1])):
        raise Damaged("the checksum does not fit the line")
