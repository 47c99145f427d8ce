"""
Which store the primary is, and how far a spool was drained into it: kept by the primary itself.

The record ``store`` ``identity`` holds the store's id, made at first contact and no part of an export. The record
``store`` ``spool/<id of the spool>`` is the receipt: the number of the last command of that spool that was offered, put
in the same transaction as what the commands changed. A receipt behind the spool's own mark can mean one thing only: the
primary was restored from an older backup.
"""

from __future__ import annotations

from backlog_store.backends.port import Hint, PutRecord, Reader, Writer
from backlog_store.model import Record

__all__ = ["AnotherStore", "RestoredStore", "check_identity", "hint_of_identity", "make_identity", "receipt_of",
           "with_receipt"]  # fmt: skip

_IDENTITY = "identity"


class AnotherStore(Exception):
    """
    Under the primary's address there is another store than the spool is for; empty *found* means one without an id.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(
            f"the database is another store ({found or 'without an id'}) than the one that the spool is for "
            f"({expected}); nothing was drained. If it was set up anew on purpose: `backlog spool drain --adopt`"
        )
        self.expected = expected
        self.found = found


class RestoredStore(Exception):
    """
    The primary was restored from a backup, older than the spool's mark: it knows only what is up to *receipt*.
    """

    def __init__(self, receipt: int) -> None:
        super().__init__(f"the database was restored from a backup; it knows the spool up to command {receipt}")
        self.receipt = receipt


def make_identity(writer: Writer, fresh: str) -> str:
    """
    Return the store's id; at first contact it is *fresh*.
    """
    found = _identity(writer)
    if not found:
        writer.apply([PutRecord(Record(kind="store", id=_IDENTITY, revision=1, body={"id": fresh}))])
    return found or fresh


def check_identity(reader: Reader, expected: str, spool: str, mark: int) -> int:
    """
    Return the receipt of a spool. Raises `AnotherStore`, `RestoredStore`.
    """
    found = _identity(reader)
    if found != expected:
        raise AnotherStore(expected, found)
    receipt = receipt_of(reader, spool)
    if receipt < mark:
        raise RestoredStore(receipt)
    return receipt


def receipt_of(reader: Reader, spool: str) -> int:
    """
    Return the number of the last command of a spool that the store knows; 0 for none.
    """
    id = f"spool/{spool}"
    record = reader.records("store", [id]).get(id)
    return int(record.body["drained"]) if record is not None else 0


def with_receipt(reader: Reader, spool: str, number: int) -> PutRecord:
    """
    Return the change that puts the next receipt. It never goes back: what the store knows, it goes on knowing.
    """
    id = f"spool/{spool}"
    record = reader.records("store", [id]).get(id)
    drained = max(number, int(record.body["drained"])) if record else number
    return PutRecord(
        Record(kind="store", id=id, revision=record.revision + 1 if record else 1, body={"drained": drained})
    )


def hint_of_identity(spool: str) -> Hint:
    """
    Return what `check_identity` reads.
    """
    return Hint(records=(("store", _IDENTITY), ("store", f"spool/{spool}")))


def _identity(reader: Reader) -> str:
    record = reader.records("store", [_IDENTITY]).get(_IDENTITY)
    return str(record.body["id"]) if record is not None else ""
