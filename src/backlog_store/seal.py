"""
A seal: what the history of a store was at an instant, so that it can be proved later that it still begins like that.

A seal is a file of lines, and its root the SHA-256 of all lines but the last one, each with its newline::

    {"format":"backlog-store seal","version":1,"at":"2026-11-23T12:00:00.000000Z","position":"0000000000000042"}
    {"item":"bl_…","revision":3,"head":"…"}              each item, in bytewise order of ids
    {"item":"bl_…","revision":5,"head":"…","key":"prod/slo:checkout"}    each purged key, in bytewise order
    {"end":{"items":1,"keys":1,"root":"…"}}

Whoever keeps the root elsewhere need not trust the place where the file lies: another file has another root. A head is
the hash of an item's newest event, and each event holds the hash of the one before: one head stands for a whole trail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import IO

import msgspec
from msgspec import Struct

from backlog_store.backends.port import Reader
from backlog_store.codec import encode, from_builtins
from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import Instant
from backlog_store.model import Event, Item, KeyState, Record
from backlog_store.query import EventQuery, ItemQuery, order_key
from backlog_store.trail import is_baseline
from backlog_store.verify import FAULTS_KEPT, Watch, silent

__all__ = ["Compared", "Sealed", "compare_with_seal", "write_seal"]

FORMAT = "backlog-store seal"
VERSION = 1
_PAGE = 500
#: Longer than any line of a seal can be.
_LINE_MAX = 16 * 1024


class _Header(Struct, frozen=True):
    format: str
    version: int
    at: Instant
    position: str


class _Line(Struct, frozen=True, omit_defaults=True):
    """
    A sealed head: of an item, or of the purged key *key*, whose item *item* was.
    """

    item: str
    revision: int
    head: str
    key: str = ""


class _End(Struct, frozen=True):
    items: int
    keys: int
    root: str


class _Trailer(Struct, frozen=True):
    end: _End


_header = msgspec.json.Decoder(_Header).decode
_line = msgspec.json.Decoder(_Line).decode
_trailer = msgspec.json.Decoder(_Trailer).decode


class Sealed(Struct, frozen=True, kw_only=True):
    """
    What was sealed: the root to keep elsewhere, how much it stands for, when, and behind which event (its position).
    """

    root: str
    at: Instant
    position: str
    items: int
    keys: int


class Compared(Struct, kw_only=True):
    """
    What became of the sealed history: the account of every sealed head.

    *kept* ones still begin like that, *grown* of them went on since; *purged* ones left their tombstone; *shortened*
    ones have forgotten what was sealed behind a baseline, as a cleanup of older history leaves them; of the others,
    *fault_count*, *faults* tells the first `FAULTS_KEPT`.
    """

    sealed: Sealed
    kept: int = 0
    grown: int = 0
    purged: int = 0
    shortened: int = 0
    fault_count: int = 0
    faults: list[str] = []

    def add(self, fault: str) -> None:
        """
        Take a fault down.
        """
        self.fault_count += 1
        if len(self.faults) < FAULTS_KEPT:
            self.faults.append(fault)


def write_seal(reader: Reader, sink: IO[bytes], at: Instant, *, watch: Watch = silent) -> Sealed:
    """
    Write the seal of everything that *reader* sees to *sink*, and return it. Memory is bounded.
    """
    newest = reader.events(EventQuery(newest_first=True, limit=1))
    position = newest[0].position if newest else ""
    root = sha256()

    def write(value: Struct) -> None:
        line = encode(value) + b"\n"
        root.update(line)
        sink.write(line)

    write(_Header(FORMAT, VERSION, at, position))
    counts = {"items": 0, "keys": 0}
    for lines in _heads(reader):
        for line in lines:
            write(line)
            counts["keys" if line.key else "items"] += 1
        watch("sealing", sum(counts.values()), 0)
    end = _End(counts["items"], counts["keys"], root.hexdigest())
    sink.write(encode(_Trailer(end)) + b"\n")
    return Sealed(root=end.root, at=at, position=position, items=end.items, keys=end.keys)


def _heads(reader: Reader) -> Iterator[list[_Line]]:
    after = None
    while items := reader.search(ItemQuery(order="id", limit=_PAGE, after=after)):
        yield [_Line(item.id, item.revision, item.head) for item in items]
        after = order_key(items[-1], "id")
    last = ""
    while records := reader.scan("key", "", last, _PAGE):
        states = [(record.id, from_builtins(record.body, KeyState)) for record in records]
        yield [_Line(state.item_id, state.last_revision, state.head, id) for id, state in states if state.purged_at]
        last = records[-1].id


def compare_with_seal(reader: Reader, source: IO[bytes], *, root: str = "", watch: Watch = silent) -> Compared:
    """
    Tell whether the history that *reader* sees still begins as the seal in *source* says. Memory is bounded.

    *root* is the one that was kept elsewhere. `verify` must have found no fault: here only the sealed events
    themselves are looked at. *source* is read twice. Raises `InvalidInput` for a file that is no whole seal, or not
    the one of that root.
    """
    sealed = _prove(source, root)
    result = Compared(sealed=sealed, faults=[])
    source.seek(0)
    source.readline(_LINE_MAX)
    done, total = 0, sealed.items + sealed.keys
    while done < total:
        lines = [_line(source.readline(_LINE_MAX)) for _ in range(min(_PAGE, total - done))]
        _compare(reader, lines, result)
        done += len(lines)
        watch("sealed history", done, total)
    return result


def _prove(source: IO[bytes], root: str) -> Sealed:
    """
    Read the whole file once: every line, the counts, the root.
    """
    found = sha256()
    line = source.readline(_LINE_MAX)
    try:
        header = _header(line)
        if header.format != FORMAT:
            raise _no_seal(1, "not a seal of this program")
        if header.version != VERSION:
            raise _no_seal(1, f"a seal of version {header.version}; this program reads version {VERSION}")
        number, counts, before = 1, [0, 0], ("", "")
        while True:
            found.update(line)
            number += 1
            line = source.readline(_LINE_MAX)
            if not line.startswith(b'{"item":'):
                break
            head = _line(line)
            place = (head.key, "") if head.key else ("", head.item)
            if place <= before:
                raise _no_seal(number, "items by id, then keys, each once")
            before = place
            counts[bool(head.key)] += 1
        end = _trailer(line).end
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _no_seal(1, f"not a seal of this program, or one that was cut: {error}") from error
    if [end.items, end.keys] != counts or end.root != found.hexdigest() or source.read(1):
        raise _no_seal(number, "the lines above are not those that were sealed")
    if root and root.lower() != end.root:
        raise InvalidInput(
            [Fault("", end.root[:16] + "…", f"the seal has another root than {root[:16]}…")], what="seal",
            hint="It is the seal of another store or of another day, or somebody made it anew.",
        )  # fmt: skip
    return Sealed(root=end.root, at=header.at, position=header.position, items=end.items, keys=end.keys)


def _no_seal(number: int, reason: str) -> InvalidInput:
    hint = "Make one with `backlog verify --seal FILE`, and keep it as it is."
    return InvalidInput([Fault(f"/line/{number}", "", reason)], what="seal", hint=hint)


def _compare(reader: Reader, lines: Sequence[_Line], result: Compared) -> None:
    ids = tuple({line.item for line in lines})
    items = reader.items(ids)
    trails: dict[str, dict[int, Event]] = {}
    for event in reader.events(EventQuery(item_ids=ids, limit=None)):
        trails.setdefault(event.item_id, {})[event.revision] = event
    gone = [line.item for line in lines if line.item not in items]
    tombs = {**reader.records("alias", gone), **_key_tombs(reader, lines)}
    for line in lines:
        trail = trails.get(line.item, {})
        fault = _judge(line, items.get(line.item), trail, tombs, result)
        if fault:
            result.add(f"{line.item}: {fault}")


def _key_tombs(reader: Reader, lines: Iterable[_Line]) -> Mapping[str, Record]:
    keys = [line.key for line in lines if line.key]
    return {f"key {id}": record for id, record in reader.records("key", keys).items()} if keys else {}


def _judge(
    line: _Line, item: Item | None, trail: Mapping[int, Event], tombs: Mapping[str, Record], result: Compared
) -> str:
    """
    Count what became of a sealed head, or return what is wrong.
    """
    event = trail.get(line.revision)
    if event is not None:
        if event.hash != line.head:
            return f"was rewritten: revision {line.revision} has the hash {event.hash}, sealed was {line.head}"
        result.kept += 1
        result.grown += max(trail) > line.revision
        return ""
    first = min(trail.values(), key=lambda event: event.revision, default=None)
    if first is not None and first.type == "purged" and not first.added and first.revision > line.revision:
        # What stood before it went with the purge; only the last event before is still named.
        if first.revision == line.revision + 1 and first.prev != line.head:
            return f"was rewritten: what was purged had the head {first.prev}, sealed was {line.head}"
        result.purged += 1
        return ""
    if first is not None and first.revision > line.revision and any(map(is_baseline, trail.values())):
        if first.revision == line.revision + 1 and first.prev != line.head:
            return f"was rewritten: what was forgotten had the head {first.prev}, sealed was {line.head}"
        result.shortened += 1
        return ""
    if item is not None:
        return f"was cut: it has no event of revision {line.revision} any more, and was not purged"
    if line.key:
        tomb = tombs.get(f"key {line.key}")
        return f"was removed: the record of the purged key {line.key} " + ("says otherwise" if tomb else "is gone")
    if "purged_at" in (tombs[line.item].body if line.item in tombs else {}):
        result.purged += 1
        return ""
    return "was removed: neither the item nor a trace of a purge is there"
