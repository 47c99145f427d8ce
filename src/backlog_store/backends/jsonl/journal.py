"""
The journal: the file of a store, and the state that it amounts to.

Its owner calls one method at a time, with the file lock held where it says so. What another process does to the file
is noticed by the bytes at its known end (it appended) or by its number (it compacted). Behind the end there may be
reserved space, full of filler: a line written over it has no new length of the file to make durable, which costs half
of a sync. The rules that keep acknowledged writes safe stand, each with its reason, in ../DESIGN.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import chain

import msgspec

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl.faults import FULL, NAME, backend_error
from backlog_store.backends.jsonl.files import Paths, keep_aside, write_all, write_file
from backlog_store.backends.jsonl.lines import (
    FILLER,
    LINE_MAX,
    VERSION,
    Damaged,
    Header,
    effects_of,
    header_line,
    header_of,
    is_unfinished,
    lines,
    packed,
    transaction_line,
    used,
)
from backlog_store.backends.state import Effect, State
from backlog_store.errors import DataCorrupt, Fault, InvalidInput, OutcomeUnknown, SchemaMismatch, StorageFull

__all__ = ["Journal"]

#: A handle reserves space from its so-manieth line on: who writes a few lines and closes need not pay for it.
_RESERVES_FROM = 4
#: It reserves a quarter of the journal's length, within these limits, in bytes.
_RESERVE_MIN, _RESERVE_MAX = 64 * 1024, 256 * 1024
_LINE_END = b"}\n"
#: What may come behind the last line.
_NOTHING = (b"", FILLER)


class Journal:
    """
    One handle to a store's journal. Not safe for several threads.
    """

    def __init__(self, paths: Paths, fs: FileSystem, *, slack: int = 0) -> None:
        self.paths = paths
        self.fs = fs
        self.state = State()
        self.generation = 0
        self.seq = 0  # of the last transaction that was taken in
        self.end = 0  # of its line, in bytes
        self.tail = 0  # bytes behind that: an unfinished write
        self.size = 0  # of the file: what is behind end and tail is filler
        self.stopped = ""  # why nothing is acknowledged any more
        self.busy = 0  # functions of callers that are looking at the state
        self._slack = slack
        self._fd = -1
        self._file = (0, 0)  # device and number of the file behind `_fd`
        self._is_synced = False  # this process has synced what was taken in
        self._is_folder_synced = False
        self._appended = 0  # lines, by this handle
        self.has_reserved = False  # behind the end of this file

    # Taking in what is in the file.

    def exists(self) -> bool:
        """
        Tell whether there is a journal.
        """
        try:
            self.fs.stat(self.paths.journal)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise backend_error("opening", self.paths.journal, error) from error
        return True

    def has_news(self) -> bool:
        """
        Tell whether the file is other than what was taken in so far. Needs no lock.
        """
        try:
            return self._behind(self.fs.stat(self.paths.journal)) not in _NOTHING
        except OSError as error:
            raise backend_error("reading", self.paths.journal, error) from error

    def refresh(self, *, exclusive: bool) -> None:
        """
        Take in what others have committed. The file lock is held; with an exclusive one a torn last line is cut away.

        Raises `DataCorrupt`, `SchemaMismatch`, `BackendUnavailable`, `StorageFull` (no room to keep the cut bytes).
        """
        try:
            behind = self._behind(self.fs.stat(self.paths.journal))
            if behind is None:
                self._load()
            elif behind not in _NOTHING:
                reason = self._take_in()
                if reason:
                    self._look_behind(reason)
            if exclusive and self.tail:
                self._cut_tail()
        except OSError as error:
            raise backend_error("reading", self.paths.journal, error) from error

    def settle(self) -> None:
        """
        Make durable what was taken in from others, before anybody is answered from it.

        The process that wrote a line may have been killed before it synced it; but whoever finds the answer to a
        request there relies on it from now on. Raises `BackendUnavailable`, and the journal is stopped.
        """
        if self._is_synced and self._is_folder_synced:
            return
        try:
            self._sync_folder()
            self.fs.sync_data(self._fd)
        except OSError as error:
            self._stop(error, "a sync failed")
            raise backend_error("sync", self.paths.journal, error) from error
        self._is_synced = True

    def let_go(self) -> None:
        """
        Close the file. What is taken in counts for nothing any more: the next refresh begins anew.
        """
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self.fs.close(fd)

    # Writing.

    def create(self) -> None:
        """
        Make an empty journal. The exclusive lock is held. Raises `StorageFull`, `BackendUnavailable`.
        """
        self.rewrite(State(), generation=1, seq=0)

    def longest(self) -> int:
        """
        Return the length in bytes from which on a compaction is worth while. No space is reserved beyond it.
        """
        return 2 * self.state.size + self._slack

    def append(self, effects: Sequence[Effect]) -> None:
        """
        Make a transaction durable. The exclusive lock is held, the journal refreshed, the effects stand in the state.

        Raises `InvalidInput` for more than a line holds, `StorageFull` or `BackendUnavailable` (not executed),
        `OutcomeUnknown` (a sync failed). After the last two the journal is stopped.
        """
        events = [kind for kind, _ in effects].count(b"event")
        if events:
            effects = [(b"at", b"%d" % (self.state.events.next - events)), *effects]
        line = transaction_line(self.seq + 1, effects)
        if len(line) > LINE_MAX:
            fault = Fault("/changes", f"{len(line)} bytes", f"one transaction holds at most {LINE_MAX} bytes")
            raise InvalidInput([fault], what="transaction", hint="Write in smaller parts.")
        self._write(line)
        try:
            if not self._is_folder_synced:
                self._sync_folder()
            self.fs.sync_data(self._fd)
        except OSError as error:
            self._stop(error, "a sync failed")
            self._cut_back()
            raise OutcomeUnknown(
                NAME, "sync", f"{error.strerror or error}: {self.paths.journal}",
                hint="Open the store again and ask by request id whether it happened.",
            ) from error  # fmt: skip
        self._is_synced = True
        self.seq += 1
        self.end += len(line)
        self._appended += 1

    def cut_reserve(self) -> None:
        """
        Give back what this handle has reserved. The exclusive lock is held. Raises as `refresh`.
        """
        if not self.has_reserved or self.stopped:
            return
        self.refresh(exclusive=True)
        try:
            if self.has_reserved:  # in the file that has the name now
                self.fs.truncate(self._fd, self.end)
        except OSError as error:
            raise backend_error("cutting", self.paths.journal, error) from error
        self.size, self.has_reserved = self.end, False

    def compact(self) -> None:
        """
        Replace the journal by the shortest one of the same state. The exclusive lock is held, the journal refreshed.

        Raises `StorageFull` or `BackendUnavailable`: the old journal stands, unless the journal is stopped.
        """
        self.rewrite(self.state, generation=self.generation + 1, seq=self.seq)

    def rewrite(self, state: State, *, generation: int, seq: int) -> None:
        """
        Replace the journal by one that amounts to *state* and goes on after *seq*. The exclusive lock is held.
        """
        fs, paths = self.fs, self.paths
        parts = packed(state.all_effects())
        header = header_line(generation=generation, first=seq + 1)
        numbered = (transaction_line(seq + number, effects) for number, effects in enumerate(parts, 1))
        try:
            size = write_file(fs, paths.new, chain([header], numbered))
            self.let_go()  # Windows renames neither an open file nor over one
            fs.rename(paths.new, paths.journal)
        except OSError as error:
            raise backend_error("writing", paths.new, error) from error
        self._is_folder_synced = False
        try:
            self._sync_folder()
        except OSError as error:
            self._stop(error, "a sync of the folder failed")
            raise backend_error("sync", paths.folder, error) from error
        try:
            self._open()
        except OSError as error:
            raise backend_error("opening", paths.journal, error) from error
        self.state, self.generation = state, generation
        self.seq, self.end, self.tail, self.size = seq + len(parts), size, 0, size
        self._is_synced = self._is_folder_synced = True

    # The steps of the above.

    def _behind(self, found: os.stat_result) -> bytes | None:
        """
        Return the byte behind the last line, if any; None if the file is no longer the one that was taken in.

        Only a machine's end leaves filler in front of bytes of an unfinished line, and then no handle is open.
        """
        if self._fd < 0 or found.st_size < self.end or (found.st_dev, found.st_ino) != self._file:
            return None
        self.size = found.st_size
        end = self.fs.read(self._fd, len(_LINE_END) + 1, self.end - len(_LINE_END))
        return end[len(_LINE_END) :] if end.startswith(_LINE_END) else None

    def _open(self) -> int:
        """
        Open the journal, whose name stays while the file lock is held; return its size.
        """
        self.let_go()
        self._fd = self.fs.open(self.paths.journal, os.O_RDWR)
        found = self.fs.stat(self.paths.journal)
        self._file = (found.st_dev, found.st_ino)
        self._is_synced = self._is_folder_synced = self.has_reserved = False
        return found.st_size

    def _load(self) -> None:
        self.size = self._open()
        try:
            header, self.end = self._read_header()
            self.generation, self.seq = header.generation, header.first - 1
            self.state = State()
            self._look_behind(self._take_in() or "these bytes are no line")
        except BaseException:
            self.let_go()
            raise

    def _read_header(self) -> tuple[Header, int]:
        _, line = next(lines(self.fs, self._fd, 0, self.size), (0, b""))
        try:
            header = header_of(line)
        except Damaged as damage:
            raise DataCorrupt(NAME, path=self.paths.journal, offset=0, reason=str(damage)) from damage
        if header.version > VERSION:
            raise SchemaMismatch(
                NAME, found=str(header.version), expected=str(VERSION), hint="A newer backlog-store wrote it: upgrade."
            )
        return header, len(line)

    def _take_in(self) -> str:
        """
        Take in the whole lines up to filler or the end; return what is wrong with the line behind them, if any.
        """
        path = self.paths.journal
        do = self.state.do
        self.tail = 0
        for at, line in lines(self.fs, self._fd, self.end, self.size):
            try:
                seq, effects = effects_of(line)
            except Damaged as damage:
                return str(damage)
            if seq != self.seq + 1:
                reason = f"transaction {self.seq + 1} should stand here, {seq} does"
                raise DataCorrupt(NAME, path=path, offset=at, reason=reason)
            try:
                for kind, body in effects:
                    do(kind, body)
            except (msgspec.MsgspecError, ValueError) as error:
                self.let_go()  # the state holds half of it
                raise DataCorrupt(NAME, path=path, offset=at, reason=f"an effect is no document ({error})") from error
            self.seq, self.end, self._is_synced = seq, at + len(line), False
        return ""

    def _look_behind(self, reason: str) -> None:
        """
        Tell an unfinished write behind the last whole line, of which nobody was told, from damage.
        """
        rest = self._read_all(self.end, self.size)
        self.tail = used(rest)
        if self.tail and not is_unfinished(rest, self.end):
            raise DataCorrupt(NAME, path=self.paths.journal, offset=self.end, reason=reason)

    def _cut_tail(self) -> None:
        torn = self._read_all(self.end, self.end + self.tail)
        if torn:  # else another handle has cut it
            keep_aside(self.fs, self.paths, f"{self.generation}-{self.end}-torn", torn)
        self.fs.truncate(self._fd, self.end)
        self.fs.sync_data(self._fd)
        self.tail, self.size = 0, self.end

    def _read_all(self, start: int, end: int) -> bytes:
        parts = []
        while start < end:
            part = self.fs.read(self._fd, end - start, start)
            if not part:
                break
            parts.append(part)
            start += len(part)
        return b"".join(parts)

    def _write(self, line: bytes) -> None:
        """
        Write a line, over reserved space where there is enough; else with new space behind it, if there is room.
        """
        end = self.end + len(line)
        if end > self.size and self._appended >= _RESERVES_FROM:
            space = min(max(_RESERVE_MIN, end // 4), _RESERVE_MAX, max(self.longest() - end, 0))
            try:
                self._write_at_end(line + FILLER * space)
            except StorageFull:
                if self.stopped:
                    raise
                self._appended = 0  # no room for more than lines: it is tried again after as many as at first
            else:
                self.has_reserved = True
                return
        self._write_at_end(line)

    def _write_at_end(self, data: bytes) -> None:
        try:
            write_all(self.fs, self._fd, data, self.end)
        except OSError as error:
            if error.errno not in FULL:
                self._stop(error, "a write failed")
            self._cut_back()
            raise backend_error("write", self.paths.journal, error) from error
        self.size = max(self.size, self.end + len(data))

    def _cut_back(self) -> None:
        """
        Take a line that failed away again, so that no other process builds on it.
        """
        try:
            self.fs.truncate(self._fd, self.end)
            self.size = self.end
        except OSError as error:
            self._stop(error, "an unfinished line could not be cut away")

    def _sync_folder(self) -> None:
        # Whoever compacted may have been killed between its rename and its sync: then a power cut brings the old file
        # back, without what was appended to the new one. So each process syncs the folder once a file.
        if not self._is_folder_synced:
            self.fs.sync_folder(self.paths.folder)
            self._is_folder_synced = True

    def _stop(self, error: OSError, what: str) -> None:
        self.stopped = self.stopped or f"{what} ({error.strerror or error})"
