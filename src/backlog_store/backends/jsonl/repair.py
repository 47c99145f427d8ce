"""
Setting damage aside, when a person asks for it (``backlog doctor --repair``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl.faults import NAME, backend_error
from backlog_store.backends.jsonl.files import FileLock, Paths, keep_aside
from backlog_store.backends.jsonl.journal import Journal
from backlog_store.backends.jsonl.lines import FILLER, VERSION, Damaged, effects_of, header_of, lines, whole_line_within
from backlog_store.backends.places import prepare_folder
from backlog_store.backends.state import State
from backlog_store.errors import SchemaMismatch

__all__ = ["Piece", "Repaired", "repair"]

_FILLER_AT_A_TIME = 1024 * 1024


class Piece(msgspec.Struct, frozen=True):
    """
    One damaged line: where it stood, how long it was, what was wrong with it (length 0: what is missing there).
    """

    offset: int
    size: int
    reason: str


class Repaired(msgspec.Struct, frozen=True):
    """
    What a repair set aside (into *folder*), and how many transactions remain.
    """

    pieces: tuple[Piece, ...]
    kept: int
    folder: str


def repair(folder: str | Path, *, lock_timeout_s: float = 30.0, fs: FileSystem | None = None) -> Repaired:
    """
    Set the damaged lines of a journal aside and write it anew from the others; change nothing if there are none.

    What the damaged transactions said is lost to the store, and kept as bytes in ``cut/``: `backlog verify` tells
    which items miss events. Raises `BackendUnavailable`, `SchemaMismatch`, `StorageFull`, `ConfigError`.
    """
    folder = Path(folder).absolute()
    fs = fs or FileSystem()
    prepare_folder(folder, backend=NAME, create=False)
    paths = Paths(folder)
    file_lock = FileLock(fs, paths.lock, timeout_s=lock_timeout_s)
    journal = Journal(paths, fs)
    try:
        with file_lock.held(exclusive=True):
            return _repair(journal, paths, fs)
    except OSError as error:
        raise backend_error("repairing", paths.journal, error) from error
    finally:
        journal.let_go()
        file_lock.let_go()


def _repair(journal: Journal, paths: Paths, fs: FileSystem) -> Repaired:
    fd = fs.open(paths.journal, os.O_RDWR)
    try:
        size = fs.stat(paths.journal).st_size
        state, generation, seq, kept = State(), 0, 0, 0
        pieces: list[tuple[Piece, bytes]] = []
        is_headed = is_damage_before = False
        for at, line in _apart(_all_lines(fs, fd, size)):
            try:
                if at == 0:
                    is_headed = True
                    header = header_of(line)
                    if header.version > VERSION:
                        raise SchemaMismatch(NAME, found=str(header.version), expected=str(VERSION))
                    generation, seq = header.generation, header.first - 1
                    continue
                before, seq = seq, _take(state, line, seq)
                kept += 1
                if seq != before + 1 and not is_damage_before:
                    reason = f"the transactions {before + 1} to {seq - 1} are missing"
                    pieces.append((Piece(at, 0, reason), b""))
                is_damage_before = False
            except Damaged as damage:
                pieces.append((Piece(at, len(line), str(damage)), line))
                is_damage_before = True
    finally:
        fs.close(fd)
    if not is_headed:
        pieces.append((Piece(0, 0, "the header is missing"), b""))
    if pieces:
        for piece, line in pieces:
            if line:
                keep_aside(fs, paths, f"{generation}-{piece.offset}-damaged", line)
        journal.rewrite(state, generation=generation + 1, seq=seq)
    return Repaired(tuple(piece for piece, _ in pieces), kept, paths.cut)


def _all_lines(fs: FileSystem, fd: int, size: int) -> Iterator[tuple[int, bytes]]:
    """
    Yield every line, also those behind filler: where a line was damaged it may hold some.
    """
    at = 0
    while at < size:
        for start, line in lines(fs, fd, at, size):
            yield start, line
            at = start + len(line)
        filler = fs.read(fd, _FILLER_AT_A_TIME, at)
        at += len(filler) - len(filler.lstrip(FILLER))


def _apart(found: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """
    Take a whole line that runs on from a damaged one, whose newline is gone, apart from it.
    """
    for at, line in found:
        try:
            effects_of(line)
        except Damaged:
            split = whole_line_within(line)
            if split:
                yield at, line[:split]
            yield at + split, line[split:]
        else:
            yield at, line


def _take(state: State, line: bytes, seq: int) -> int:
    """
    Take a line into *state* whole or not at all; return its sequence number, which may have left others out.
    """
    found, effects = effects_of(line)
    if found <= seq:
        raise Damaged(f"transaction {found} stands behind {seq}")
    state.begin()
    try:
        for effect in effects:
            state.do(*effect)
    except (msgspec.MsgspecError, ValueError) as error:
        state.roll_back()
        raise Damaged(f"an effect is no document ({error})") from error
    state.commit()
    return found
