"""
The spool: accepted commands in order, kept as records of a store of its own.

It is a log with a mark. An accepted command is the record ``spool`` of the next number; what is behind the mark was
offered to the primary and is kept for a while, in case that is restored from an older backup; what it refused is moved
to ``parked``, with the reason. Mark and account are one record, put in the same transaction as what they tell of. So
moving a thousand commands to where they end costs one short line in the journal.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Sequence
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from backlog_store.backends.port import Backend, Change, DropRecord, PutRecord, Reader, Writer
from backlog_store.clock import IdSource
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.commands import Command
from backlog_store.errors import BackendError, DataCorrupt
from backlog_store.executors.failover.entries import Ended, Entry, Ledger, Parked, SpoolFull, weight_of
from backlog_store.executors.failover.standing import Account
from backlog_store.ids import derived
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import LIMITS, Record

__all__ = ["Spool"]

T = TypeVar("T")

_DIGITS = 16
_LEDGER = "account"
_TOLD = 8
_PAGE = 64
_DROPS = 2_000
#: Drafts of commands behind the mark that are kept for a primary that is restored from a backup.
KEPT_MAX = 20_000
#: And for how long: as the primary keeps its answers to request ids.
KEPT_DAYS = LIMITS.answer_days
#: Drafts of commands that may wait.
WAITING_MAX = 500_000


class Spool:
    """
    A spool on a backend, which several processes may share. Safe for several threads.

    Every method raises what the backend raises. A move that cannot be written is kept in this process and written with
    the next one: the primary has it in its receipt, and offering a command again changes nothing.
    """

    def __init__(self, backend: Backend, ids: IdSource, *, waiting_max: int = WAITING_MAX) -> None:
        self.backend = backend
        self._waiting_max = waiting_max
        self._pending: list[Ended] = []  # what could not be written yet
        self._lock = threading.Lock()
        self._fresh = Ledger(id=f"sp_{derived('spool', ids())}")
        backend.write(lambda writer: _make(writer, self._fresh))

    def go_on_with(self, backend: Backend) -> None:
        """
        Use another handle to the same store: the old one has stopped.
        """
        backend.write(lambda writer: _make(writer, self._fresh))
        self.backend = backend

    def start_anew(self) -> None:
        """
        In a forked child: what is not written yet is the parent's to write.
        """
        self._lock = threading.Lock()
        self._pending = []

    def ledger(self) -> Ledger:
        """
        Return the ledger as it stands, with what this process could not write yet.
        """
        with self._lock:
            return _moved(self.backend.read(_ledger_of)[0], self._pending)

    def accept(self, accepted: Sequence[tuple[Command, Instant]]) -> None:
        """
        Put commands, each with the instant of its acceptance, behind all others, durably. Raises `SpoolFull`.
        """
        weight = sum(weight_of(command) for command, _ in accepted)
        bodies = [{"at": at, "command": to_builtins(command)} for command, at in accepted]

        def run(writer: Writer) -> None:
            ledger, record = _ledger_of(writer)
            writer.apply(self._behind(ledger, record, bodies, Account(accepted=len(bodies)), weight))

        self.backend.write(run)

    def tell(self, elsewhere: Account, name: str) -> None:
        """
        Add to the account what became of commands that another spool held; once under a *name*, however often asked.
        """

        def run(writer: Writer) -> None:
            ledger, record = _ledger_of(writer)
            if name not in ledger.told:
                told = (*ledger.told, name)[-_TOLD:]
                writer.apply([_next(record, replace(ledger, account=ledger.account.plus(elsewhere), told=told))])

        self.backend.write(run)

    def _behind(
        self, ledger: Ledger, record: Record, bodies: Sequence[dict[str, object]], account: Account, weight: int
    ) -> list[Change]:
        waiting = ledger.weight_waiting + weight
        if waiting > self._waiting_max:
            raise SpoolFull("spool", "accepting", path=f"more than {self._waiting_max:,} reports that wait")
        puts = [_put("spool", _id(ledger.last + n), body) for n, body in enumerate(bodies, 1)]
        account = ledger.account.plus(account).plus(Account(waiting=len(puts)))
        after = replace(ledger, last=ledger.last + len(puts), account=account, weight_waiting=waiting)
        return [*puts, _next(record, after)]

    def take(self, weight_max: int) -> list[Entry]:
        """
        Return the commands that are next, in order, of at most about so many drafts (but at least one command).
        """
        after = self.ledger().mark
        entries: list[Entry] = []
        weight = 0
        while weight < weight_max:
            page = self.listing(after, limit=min(_PAGE, weight_max))
            for entry in page:
                weight += entry.weight
                if entries and weight > weight_max:
                    return entries
                entries.append(entry)
            if len(page) < min(_PAGE, weight_max):
                break
            after = entries[-1].number
        return entries

    def listing(self, after: int, *, limit: int) -> list[Entry]:
        """
        Return commands in order from behind a number, those that were moved already, too.
        """
        found = self.backend.read(lambda reader: reader.scan("spool", "", _id(after), limit))
        return [_entry(record) for record in found]

    def oldest(self) -> Instant:
        """
        Return when the command that is next was accepted; empty if none waits.
        """
        page = self.listing(self.ledger().mark, limit=1)
        return page[0].at if page else ""

    def parked(self, after: int = 0, *, limit: int = 1_000) -> list[Parked]:
        """
        Return what could not be applied, in order from behind a number.
        """
        found = self.backend.read(lambda reader: reader.scan("parked", "", _id(after), limit))
        return [_read(record, Parked) for record in found]

    def retry(self, numbers: Collection[int]) -> int:
        """
        Put parked commands behind all others, in their order; return how many that were. Raises `SpoolFull`.
        """

        def run(writer: Writer) -> int:
            ledger, record = _ledger_of(writer)
            found = sorted(writer.records("parked", {*map(_id, numbers)}).values(), key=lambda parked: parked.id)
            weight = sum(weight_of(_read(parked, Parked).command) for parked in found)
            bodies = [{name: parked.body[name] for name in ("at", "command")} for parked in found]
            puts = self._behind(ledger, record, bodies, Account(parked=-len(found)), weight)
            writer.apply([*(DropRecord("parked", parked.id, parked.revision) for parked in found), *puts])
            return len(found)

        return self.backend.write(run)

    def move(self, ended: Sequence[Ended], now: Instant) -> BackendError | None:
        """
        Note where a batch of commands ended, the first ones that wait, in order.

        Return the error where that could not be written yet.
        """
        with self._lock:
            pending = [*self._pending, *ended]

            def run(writer: Writer) -> None:
                ledger, record = _ledger_of(writer)
                parked = {_id(end.number): end for end in pending if end.how == "parked" and end.number > ledger.mark}
                changes: list[Change] = []
                for id, found in writer.records("spool", list(parked)).items():
                    changes += [DropRecord("spool", id, 1), _put("parked", id, _parked(found, parked[id], now))]
                writer.apply([*changes, _next(record, _moved(ledger, pending))])

            try:
                self.backend.write(run)
            except BackendError as error:
                self._pending = pending
                return error
            self._pending = []
            return None

    def offer_again(self, after: int) -> int:
        """
        Set the mark back, so that what is kept from behind *after* waits again; return how many commands that are.
        """

        def run(writer: Writer) -> int:
            ledger, record = _ledger_of(writer)
            count = weight = 0
            last = _id(after)
            while page := writer.scan("spool", "", last, _PAGE):
                for entry in map(_entry, page):
                    if entry.number <= ledger.mark:
                        count, weight = count + 1, weight + entry.weight
                last = page[-1].id
                if int(last) >= ledger.mark:
                    break
            if after >= ledger.mark:
                return 0
            writer.apply([_next(record, replace(
                ledger, mark=after, account=ledger.account.plus(Account(again=count, waiting=count)),
                weight_waiting=ledger.weight_waiting + weight, weight_kept=ledger.weight_kept - weight,
            ))])  # fmt: skip
            return count

        return self.backend.write(run)

    def belong_to(self, primary: str) -> None:
        """
        Remember the id of the store that the commands are for.
        """

        def run(writer: Writer) -> None:
            ledger, record = _ledger_of(writer)
            if ledger.primary != primary:
                writer.apply([_next(record, replace(ledger, primary=primary))])

        self.backend.write(run)

    def trim(self, now: Instant, *, kept_max: int = KEPT_MAX) -> None:
        """
        Drop the oldest of what was moved, beyond *kept_max* drafts or `KEPT_DAYS` days.
        """
        before = add_seconds(now, -KEPT_DAYS * 86_400.0)

        def run(writer: Writer) -> bool:
            ledger, record = _ledger_of(writer)
            drops: list[Change] = []
            kept = ledger.weight_kept
            after = ""
            while len(drops) < _DROPS and (page := writer.scan("spool", "", after, _PAGE)):
                for entry in map(_entry, page):
                    if entry.number > ledger.mark or (kept <= kept_max and entry.at >= before):
                        page = ()
                        break
                    kept -= entry.weight
                    drops.append(DropRecord("spool", _id(entry.number), 1))
                if not page:
                    break
                after = page[-1].id
            if drops:
                writer.apply([*drops, _next(record, replace(ledger, weight_kept=kept))])
            return len(drops) >= _DROPS

        while self.backend.write(run):
            pass

    def close(self) -> None:
        """
        Let go of the backend. Idempotent.
        """
        self.backend.close()


def _make(writer: Writer, fresh: Ledger) -> None:
    if not writer.records("account", [_LEDGER]):
        writer.apply([_put("account", _LEDGER, to_builtins(fresh))])


def _ledger_of(reader: Reader) -> tuple[Ledger, Record]:
    record = reader.records("account", [_LEDGER])[_LEDGER]
    return _read(record, Ledger), record


def _read(record: Record, cls: type[T]) -> T:
    """
    Return what a record says. Raises `DataCorrupt` for one that this program cannot read.
    """
    number = {"number": int(record.id)} if record.id.isdecimal() else {}
    try:
        return from_builtins({**record.body, **number}, cls)
    except msgspec.ValidationError as error:
        raise DataCorrupt(
            "spool", path=f"the record {record.kind}/{record.id}", offset=0, reason=str(error),
            hint="Nothing was changed. If a newer backlog-store has written it, upgrade; else restore the folder.",
        ) from error  # fmt: skip


def _next(record: Record, ledger: Ledger) -> PutRecord:
    return PutRecord(replace(record, revision=record.revision + 1, body=to_builtins(ledger)))


def _put(kind: str, id: str, body: dict[str, object]) -> PutRecord:
    return PutRecord(Record(kind=kind, id=id, revision=1, body=body))  # type: ignore[arg-type]


def _id(number: int) -> str:
    return f"{number:0{_DIGITS}}"


def _entry(record: Record) -> Entry:
    return _read(record, Entry)


def _parked(record: Record, end: Ended, now: Instant) -> dict[str, object]:
    return {"at": record.body["at"], "code": end.code, "command": record.body["command"], "parked_at": now,
            "reason": end.reason}  # fmt: skip


def _moved(ledger: Ledger, ended: Sequence[Ended]) -> Ledger:
    # What is before the mark was noted already, by another process that drained the same commands.
    ended = [end for end in ended if end.number > ledger.mark]
    if not ended:
        return ledger
    counts = Counter(end.how for end in ended)
    weight = sum(end.weight for end in ended)
    account = Account(
        accepted=-counts["handed"], applied=counts["applied"], there=counts["there"], parked=counts["parked"],
        waiting=-len(ended),
    )  # fmt: skip
    return replace(
        ledger, mark=ended[-1].number, account=ledger.account.plus(account),
        weight_waiting=ledger.weight_waiting - weight,
        weight_kept=ledger.weight_kept + sum(end.weight for end in ended if end.how != "parked"),
    )  # fmt: skip
