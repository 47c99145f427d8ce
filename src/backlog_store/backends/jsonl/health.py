"""
Looking at a journal: every line is read and verified again; nothing is changed.
"""

from __future__ import annotations

from backlog_store.backends.fs import FileSystem
from backlog_store.backends.jsonl.faults import NAME
from backlog_store.backends.jsonl.files import FileLock, Paths
from backlog_store.backends.jsonl.journal import Journal
from backlog_store.backends.port import Health
from backlog_store.errors import BackendError

__all__ = ["look_at"]

#: Beyond so many items a store is better kept in SQLite.
ITEMS_ADVISED = 100_000


def look_at(journal: Journal, file_lock: FileLock, *, compact_failure: str) -> Health:
    """
    Return the condition of a store whose owner is *journal*. Raises nothing that can be reported.
    """
    problems: list[str] = []
    warnings: list[str] = []
    facts: dict[str, str] = {"path": journal.paths.folder}
    if journal.stopped:
        problems.append(f"the store has stopped: {journal.stopped}; open it again")
    if compact_failure:
        warnings.append(f"the journal could not be compacted: {compact_failure}")
    fresh = Journal(journal.paths, journal.fs)
    try:
        with file_lock.held(exclusive=False):
            fresh.refresh(exclusive=False)
        if fresh.tail:
            warnings.append(f"an unfinished write of {fresh.tail} bytes at the end; the next write sets it aside")
        counts = fresh.state.counts()
        facts |= {name: str(n) for name, n in counts.items()}
        facts |= {
            "transaction": str(fresh.seq),
            "generation": str(fresh.generation),
            "bytes": str(fresh.end + fresh.tail),
            "live bytes": str(fresh.state.size),
            "reserved bytes": str(fresh.size - fresh.end - fresh.tail),
        }
        if counts["items"] > ITEMS_ADVISED:
            warnings.append(
                f"{counts['items']} items: beyond {ITEMS_ADVISED} SQLite is faster; `backlog migrate` moves there"
            )
        fresh.let_go()
    except BackendError as error:
        problems.append(str(error))
    except OSError as error:
        problems.append(f"{error.strerror}: {journal.paths.journal}")
    _look_at_cut(journal.fs, journal.paths, warnings, facts)
    return Health(
        ok=not problems,
        backend=NAME,
        problems=tuple(problems),
        warnings=tuple(warnings),
        facts=dict(sorted(facts.items())),
    )


def _look_at_cut(fs: FileSystem, paths: Paths, warnings: list[str], facts: dict[str, str]) -> None:
    try:
        names = [name for name in fs.list_folder(paths.cut) if name != "part"]
        size = sum(fs.stat(f"{paths.cut}/{name}").st_size for name in names)
    except FileNotFoundError:
        return
    except OSError as error:
        warnings.append(f"{error.strerror}: {paths.cut}")
        return
    facts |= {"cut": str(len(names)), "cut bytes": str(size)}
    if names:
        pieces, them = ("1 piece", "it") if len(names) == 1 else (f"{len(names)} pieces", "them")
        warnings.append(
            f"{pieces} ({size} bytes) of unfinished or damaged writes set aside in {paths.cut}; look at {them}, "
            f"then remove {them}"
        )
