"""
What a backend can do beyond the port, for keeping a store: look at its own form, be copied as it is, be repaired.

Modules of these names lie beside a backend that can; whoever asks need not know which. What holds for every backend
(proof of the history, export and import) is built on the port alone and stands in `verify` and `transfer`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from backlog_store.backends.port import Backend, Reader

__all__ = ["CopyForm", "Watch", "audit", "copy_form", "drop_emptied", "form_of_copy"]

#: Told what is looked at, how much of it so far, and of how much (0: unknown).
Watch = Callable[[str, int, int], None]

_HOME = "backlog_store.backends."
_AUDITS = {"jsonl": "jsonl.audit", "sqlite": "sqlite.audit", "postgres": "postgres.audit"}
_EMPTIED = {"postgres": "postgres.months"}
_COPIES = {"jsonl": "jsonl.copying", "sqlite": "sqlite.copying"}


class CopyForm(NamedTuple):
    """
    How stores of one kind are copied as they are.

    *copy* (backend, file, watch) writes a consistent copy into a file that is there, empty, and says what is worth
    telling; *reading* (file) opens such a copy for reading alone and leaves nothing beside it; *audit* looks at the
    copy's own form; *store_file* tells which file of a new store, by its place, the copy becomes.
    """

    scheme: str
    copy: Callable[[Backend, Path, Watch], Sequence[str]]
    reading: Callable[[Path], AbstractContextManager[Reader]]
    audit: Callable[[Reader, Watch], Iterator[str]]
    store_file: Callable[[Path], Path]


def audit(backend: Backend, reader: Reader, watch: Watch) -> Iterator[str]:
    """
    Yield what is wrong with that in which a backend keeps documents: pages, lines, columns, indexes.

    *reader* is the view that *backend* has given; a backend without such a look is not asked.
    """
    name = _AUDITS.get(backend.capabilities.name)
    if name is not None:
        yield from _module(name).audit(backend, reader, watch)


def drop_emptied(backend: Backend) -> tuple[str, ...]:
    """
    Drop the parts of a backend's history in which nothing is left, if it keeps it in parts, and return their names.
    """
    name = _EMPTIED.get(backend.capabilities.name)
    dropped: tuple[str, ...] = _module(name).drop_emptied(backend) if name is not None else ()
    return dropped


def copy_form(scheme: str) -> CopyForm | None:
    """
    Return how stores of a kind are copied as they are; ``None`` if they can only be exported.
    """
    if scheme not in _COPIES:
        return None
    form: CopyForm = _module(_COPIES[scheme]).FORM
    return form


def form_of_copy(start: bytes) -> CopyForm | None:
    """
    Return of which kind of store a file is a copy that begins with these bytes; ``None`` if it is none.
    """
    for name in _COPIES.values():
        module = _module(name)
        if module.is_copy(start):
            form: CopyForm = module.FORM
            return form
    return None


def _module(name: str) -> Any:
    return import_module(_HOME + name)
