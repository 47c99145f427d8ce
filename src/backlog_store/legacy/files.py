"""
The old files beside a store: opened as they are, never written, and followed while old processes still append.

How far each file was taken in stands in a record of the store. What stands behind it is new; where the file is shorter,
or the bytes before that place are others, an old process has rewritten it (its retention did) and all of it is read
again, which changes nothing where nothing changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct, field

from backlog_store.backlog import Backlog
from backlog_store.codec import digest, from_builtins, to_builtins
from backlog_store.errors import BackendUnavailable
from backlog_store.instants import Instant
from backlog_store.legacy.intake import Taken, foresee, take_in
from backlog_store.legacy.lines import Line, Span, read_lines
from backlog_store.legacy.report import Note, in_pages, write_notes, write_record
from backlog_store.legacy.rows import EventRow, ItemRow, Mapped, read_event, read_item
from backlog_store.preview import Decided, check_shown, shown_of, token_of_import

__all__ = ["ForeseenFiles", "OldFiles", "Signature"]

_PREFIX = "legacy-files/"
_TAIL = 256
_FIRST_LINE = 64 * 1024


class _Progress(Struct, omit_defaults=True):
    """
    How far one file was taken in: the byte, the lines before it, and the digest of the last bytes before it.
    """

    end: int = 0
    lines: int = 0
    tail: str = ""


class _Read(NamedTuple):
    file: Path
    start: Span
    end: int
    objects: list[tuple[Line, dict[str, Any]]]  # where, and what stands there
    told: dict[str, list[Note]]
    progress: _Progress


class _Look(NamedTuple):
    """
    What the files hold that is looked at, and what is to tell of it, by place.
    """

    items: _Read
    events: _Read
    rows: list[ItemRow]
    said: list[EventRow]
    told: dict[str, list[Note]]


#: Size, time of the last change and number of each file that is there.
Signature = tuple[tuple[int, int, int] | None, tuple[int, int, int] | None]


class _Kept(Struct, omit_defaults=True):
    items: _Progress = field(default_factory=_Progress)
    events: _Progress = field(default_factory=_Progress)
    signature: list[Any] = []
    path: str = ""


class ForeseenFiles(Struct, frozen=True, kw_only=True):
    """
    What would be taken in: the account with all there is to tell, what is shown of it, and the token of that.
    """

    taken: Taken
    shown: tuple[Decided, ...]
    token: str


class OldFiles:
    """
    The pair of files that an original store wrote. Not thread-safe; reading them twice at once does no harm.
    """

    def __init__(self, items: str | Path, events: str | Path) -> None:
        self.items = Path(items).absolute()
        self.events = Path(events).absolute()

    def signature(self) -> Signature:
        """
        Return what tells whether anybody wrote to the files. Raises `BackendUnavailable` where one cannot be looked at.
        """
        return _stat(self.items), _stat(self.events)

    def is_taken_in(self, backlog: Backlog, signature: Signature) -> bool:
        """
        Tell whether *backlog* has all that the files held at this signature; files that are not there hold nothing.
        """
        if not any(size for size, *_ in (one for one in signature if one is not None)):
            return True
        return bool(self._kept(backlog).signature == _plain(signature))

    def foresee(self, backlog: Backlog) -> ForeseenFiles:
        """
        Tell what becomes of everything in the files; what *backlog* has of it stays as it is. Writes nothing.

        Raises `BackendUnavailable` for a file that cannot be read.
        """
        return self._foresee(backlog, self._look(backlog.clock()))

    def take_in(self, backlog: Backlog, *, token: str = "", shown: Sequence[Decided] = ()) -> Taken:
        """
        Take in what the files hold and *backlog* does not have yet. May be repeated, by several processes at once.

        With the *token* that `foresee` gave, and what it showed where that is still known: only if just that would be
        taken in now, but for what came in meanwhile. Raises `PlanChanged` if not, `BackendUnavailable` for a file that
        cannot be read, and what the store raises.
        """
        signature = self.signature()
        look = self._look(backlog.clock(), _Kept() if token else self._kept(backlog))
        if token:
            now = self._foresee(backlog, look)
            if now.token != token:
                check_shown(token, shown, now.shown)
            shown = now.shown[1:]
        taken = take_in(backlog, look.rows, look.said, token=token, shown=shown)
        told = self._told(look, taken)
        done = _Kept(items=look.items.progress, events=look.events.progress, signature=_plain(signature),
                     path=str(self.items))  # fmt: skip
        id = self._record_id()
        backend = backlog.executor.backend
        for part in in_pages(told):
            backend.write(lambda writer, part=part: write_notes(writer, part))  # type: ignore[misc]
        backend.write(lambda writer: write_record(writer, id, to_builtins(done)))
        return taken

    def _look(self, now: Instant, kept: _Kept | None = None) -> _Look:
        kept = kept or _Kept()  # from the beginning: what was taken in before changes nothing
        items, events = _read(self.items, kept.items), _read(self.events, kept.events)
        told = {**items.told, **events.told}
        return _Look(items, events, _item_rows(items, told, now), _event_rows(events, told, now), told)

    def _foresee(self, backlog: Backlog, look: _Look) -> ForeseenFiles:
        taken, decided = foresee(backlog, look.rows, look.said)
        held = [[value for _, value in read.objects] for read in (look.items, look.events)]
        shown = shown_of(digest(json.dumps(held).encode()), decided)
        self._told(look, taken)
        return ForeseenFiles(taken=taken, shown=shown, token=token_of_import(shown))

    def _told(self, look: _Look, taken: Taken) -> dict[str, list[Note]]:
        """
        Return what is to tell by place, with what taking the rows in had to tell; and tell all of it with *taken*.
        """
        told = {place: list(listed) for place, listed in look.told.items()}
        for row_id, text in taken.notes:
            place = f"{self.items.name}/row/{row_id}"
            told.setdefault(place, []).append(Note(self.items.name, row_id, text))
        taken.notes = [(note.where, str(note)) for listed in told.values() for note in listed]
        return told

    def _kept(self, backlog: Backlog) -> _Kept:
        id = self._record_id()
        record = backlog.read(lambda reader: reader.records("store", [id]).get(id))
        return _Kept() if record is None else from_builtins(record.body, _Kept)

    def _record_id(self) -> str:
        """
        Return the id of the files' record. The first line is part of it: other hosts have other files of this name.
        """
        first = next((line for line in (_first_line(self.items), _first_line(self.events)) if line), b"")
        return _PREFIX + digest(first)


def _plain(signature: Signature) -> list[list[int] | None]:
    return [None if one is None else list(one) for one in signature]


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    return found.st_size, found.st_mtime_ns, found.st_ino


def _first_line(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.readline(_FIRST_LINE)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> BackendUnavailable:
    return BackendUnavailable(
        "jsonl", "reading an old file", f"{error.strerror or error}: {path}",
        hint="Nothing was taken for empty. Make the file readable, or move it away if it is not meant.",
    )  # fmt: skip


def _read(path: Path, kept: _Progress) -> _Read:
    try:
        end = path.stat().st_size
        tail = _tail(path, kept.end)
        start = Span(kept.end, kept.lines) if kept.end and kept.end <= end and tail == kept.tail else Span()
        lines = list(read_lines(path, start, end))
        objects: list[tuple[Line, dict[str, Any]]] = []
        told: dict[str, list[Note]] = {f"{path.name}/end": []}
        done = _end_of_lines(path, start, end)
        for line in lines:
            objects += [(line, value) for value in line.values]
            fault = line.fault
            if not line.is_whole and not line.values:
                fault = f"the file ends inside this line ({fault}); the rest is taken in when it comes"
            if fault:
                place = f"{path.name}/{line.at:015d}" if line.is_whole else f"{path.name}/end"
                told.setdefault(place, []).append(Note(path.name, f"line {line.number} (byte {line.at})", fault))
        return _Read(path, start, end, objects, told, _Progress(done.at, done.lines, _tail(path, done.at)))
    except FileNotFoundError:
        return _Read(path, Span(), 0, [], {}, _Progress())
    except OSError as error:
        raise _unreadable(path, error) from error


def _tail(path: Path, end: int) -> str:
    with path.open("rb") as file:
        file.seek(max(0, end - _TAIL))
        return digest(file.read(min(_TAIL, end)))


def _end_of_lines(path: Path, start: Span, end: int) -> Span:
    """
    Return the place behind the last newline before *end*.
    """
    at, lines = start
    with path.open("rb") as file:
        file.seek(start.at)
        position = start.at
        while position < end and (data := file.read(min(1 << 20, end - position))):
            lines += data.count(b"\n")
            if b"\n" in data:
                at = position + data.rindex(b"\n") + 1
            position += len(data)
    return Span(at, lines)


def _item_rows(read: _Read, told: dict[str, list[Note]], now: Instant) -> list[ItemRow]:
    rows = []
    for line, raw in read.objects:
        row = read_item(raw, now=now, line=line.original)
        rows.append(row)
        _tell_mapped(told, read.file, line, f"item {row.given_id}", row.mapped)
    return rows


def _event_rows(read: _Read, told: dict[str, list[Note]], now: Instant) -> list[EventRow]:
    rows = []
    for line, raw in read.objects:
        row = read_event(raw, now=now, line=line.original)
        rows.append(row)
        _tell_mapped(told, read.file, line, f"event {row.id}", row.mapped)
    return rows


def _tell_mapped(told: dict[str, list[Note]], file: Path, line: Line, what: str, mapped: tuple[Mapped, ...]) -> None:
    for one in mapped:
        where = f"line {line.number} (byte {line.at}), {what}"
        note = Note(file.name, where, f"{one.field} {one.stood!r} cannot be; it is kept as {one.kept!r}")
        told.setdefault(f"{file.name}/{line.at:015d}", []).append(note)
