"""
The replay: a batch of accepted commands into the primary, in order, in one transaction, each one once.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from backlog_store.backends.port import Backend, Change, Writer
from backlog_store.errors import (
    BackendUnavailable,
    BacklogError,
    ConfigError,
    DataCorrupt,
    OutcomeUnknown,
    SchemaMismatch,
    StorageFull,
)
from backlog_store.executors.failover.entries import Ended, Entry, Ledger
from backlog_store.executors.failover.identity import (
    AnotherStore,
    RestoredStore,
    check_identity,
    hint_of_identity,
    with_receipt,
)
from backlog_store.model import ItemId
from backlog_store.policy import Policy
from backlog_store.rules import Decision, split_by_item
from backlog_store.rules.replaying import decide_all, hint_of_all

__all__ = ["AWAY", "Replayed", "replay"]

#: What says that the primary as a whole is not to be had, rather than that a command is at fault.
AWAY = (BackendUnavailable, OutcomeUnknown, StorageFull, SchemaMismatch, DataCorrupt, ConfigError)


class Replayed(Struct, frozen=True):
    """
    Where each command of a batch ended, in order, and the items that they were about.
    """

    ended: tuple[Ended, ...] = ()
    touched: frozenset[ItemId] = frozenset()


def replay(primary: Backend, ledger: Ledger, entries: Sequence[Entry], policy: Policy) -> Replayed:
    """
    Offer commands to the primary. Ledger: that of their spool, which tells the mark and the store that they are for.

    A batch that fails as a whole, for a reason that is not the connection's, is halved until the culprit stands alone;
    that one is parked. Raises the errors of `AWAY`, where nothing happened or perhaps all (offering it again tells),
    `AnotherStore` and `RestoredStore`.
    """
    done: list[Replayed] = []
    stack = [list(entries)]
    while stack:
        batch = stack.pop()
        try:
            done.append(_replay(primary, ledger, batch, policy))
        except (*AWAY, AnotherStore, RestoredStore):
            if not done:
                raise
            break
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep the other commands from arriving
            if len(batch) > 1:
                half = len(batch) // 2
                stack += [batch[half:], batch[:half]]
                continue
            done.append(_replay(primary, ledger, batch, policy, instead=error))
    return Replayed(
        tuple(end for one in done for end in one.ended), frozenset(id for one in done for id in one.touched)
    )


def _replay(
    primary: Backend, ledger: Ledger, batch: Sequence[Entry], policy: Policy, *, instead: Exception | None = None
) -> Replayed:
    commands = [entry.command for entry in batch]

    def run(writer: Writer) -> list[Decision | BacklogError]:
        check_identity(writer, ledger.primary, ledger.id, ledger.mark)
        decided: list[Decision | BacklogError] = [] if instead is not None else decide_all(writer, commands, policy)
        changes: list[Change] = [with_receipt(writer, ledger.id, batch[-1].number)]
        for one in decided:
            if isinstance(one, Decision):
                changes += one.changes
        for part in split_by_item(changes):
            writer.apply(part)
        return decided

    decided = primary.write(run, hint=hint_of_all(commands, hint_of_identity(ledger.id)))
    if instead is not None:
        return Replayed((_parked(batch[0], instead),))
    touched: set[ItemId] = set()
    ended = []
    for entry, one in zip(batch, decided, strict=True):
        if isinstance(one, BacklogError):
            ended.append(_parked(entry, one))
            continue
        ended.append(Ended(entry.number, entry.weight, "there" if one.answer.replayed else "applied"))
        touched.update(outcome.id for outcome in one.answer.outcomes if outcome.id)
    return Replayed(tuple(ended), frozenset(touched))


def _parked(entry: Entry, error: Exception) -> Ended:
    code = error.code if isinstance(error, BacklogError) else "internal"
    text = str(error) if isinstance(error, BacklogError) else f"{type(error).__name__}: {error}"
    return Ended(entry.number, entry.weight, "parked", code, text)
