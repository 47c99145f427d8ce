"""
Seals: what grew since is proved, what was rewritten is named, and a seal that was changed is refused.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from backlog_store import Backlog, open_backlog
from backlog_store.backends.port import DropRecord, Load, Purge, Writer
from backlog_store.commands import ShortenHistory
from backlog_store.errors import InvalidInput
from backlog_store.query import EventQuery
from backlog_store.seal import Compared, Sealed, compare_with_seal, write_seal
from backlog_store.testing.clocks import START, CountingIds, StepClock
from backlog_store.trail import rebuild, sealed
from tests.crash.stored import proof


@pytest.fixture
def backlog() -> Backlog:
    """
    A store with five items, one of them closed.
    """
    store = open_backlog("memory://", clock=StepClock(), ids=CountingIds())
    for number in range(5):
        store.upsert(title=f"item {number}", dedupe_key=f"k{number}" if number else "")
    store.close_item(id_of(store, "k1"), "wont_fix")
    return store


def id_of(backlog: Backlog, key: str) -> str:
    """
    Return the id of the item that holds a key.
    """
    item = backlog.get_by_key(key)
    assert item is not None
    return item.id


def seal(backlog: Backlog) -> tuple[io.BytesIO, Sealed]:
    """
    Return the seal of a store as a file, and as a value.
    """
    file = io.BytesIO()
    return file, backlog.read(lambda reader: write_seal(reader, file, START))


def compare(backlog: Backlog, file: io.BytesIO, root: str = "") -> Compared:
    """
    Hold a store against a seal.
    """
    file.seek(0)
    return backlog.read(lambda reader: compare_with_seal(reader, file, root=root))


def test_the_root_is_the_digest_of_all_lines_but_the_last(backlog: Backlog) -> None:
    """Anybody can compute it, and the same history has the same root."""
    file, value = seal(backlog)
    *lines, last = file.getvalue().splitlines(keepends=True)
    assert sha256(b"".join(lines)).hexdigest() == value.root
    assert value.root.encode() in last
    assert seal(backlog)[1] == value


def test_a_history_that_grew_still_begins_as_sealed(backlog: Backlog) -> None:
    """Edits, new items, purges and returns are no faults; each sealed head is accounted for."""
    file, value = seal(backlog)
    backlog.edit(id_of(backlog, "k2"), title="renamed")
    backlog.upsert(title="new", dedupe_key="new")
    backlog.cleanup(0)
    assert compare(backlog, file, value.root).fault_count == 0
    backlog.lift_verdict("k1")
    backlog.upsert(title="is back", dedupe_key="k1")
    found = compare(backlog, file, value.root)
    assert found.faults == []
    assert (4, 1, 1) == (found.kept, found.grown, found.purged)


def test_a_sealed_tombstone_is_held_too(backlog: Backlog) -> None:
    """What was purged before the seal is in it by its key, and goes on when the key returns."""
    backlog.cleanup(0)
    file, value = seal(backlog)
    assert (4, 1) == (value.items, value.keys)
    backlog.lift_verdict("k1")
    backlog.upsert(title="is back", dedupe_key="k1")
    assert compare(backlog, file, value.root).faults == []


def rewrite(backlog: Backlog, id: str) -> None:
    """
    Replace an item's history by another one, whose chain holds as well: what whoever writes to a store can do.
    """
    item = backlog.get(id)
    events = backlog.events(EventQuery(item_ids=(id,), limit=None))
    forged, prev = [], ""
    for event in sorted(events, key=lambda event: event.revision):
        plain = {name: getattr(event, name) for name in event.__struct_fields__}
        plain |= {"actor": "mallory", "prev": prev, "position": ""}
        forged.append(sealed(type(event)(**plain)))
        prev = forged[-1].hash
    backlog.executor.backend.write(lambda writer: writer.apply([Purge(id, item.revision)]))
    backlog.executor.backend.write(lambda writer: writer.apply([Load(rebuild(forged), tuple(forged))]))


def test_a_rewritten_history_is_named_though_it_proves_itself(backlog: Backlog) -> None:
    """A forged chain that holds deceives verify alone, and not the seal."""
    file, value = seal(backlog)
    id = id_of(backlog, "k3")
    rewrite(backlog, id)
    assert proof(backlog.executor.backend).faults == []
    found = compare(backlog, file, value.root)
    assert found.fault_count == 1
    assert f"{id}: was rewritten" in found.faults[0]


def test_a_removed_item_is_named(backlog: Backlog) -> None:
    """Taken out without a tombstone, and a tombstone taken out."""
    backlog.cleanup(0)
    file, value = seal(backlog)
    gone = backlog.get_by_key("k2")
    assert gone is not None

    def remove(writer: Writer) -> None:
        tomb = writer.records("key", ["prod/k1"])["prod/k1"]
        writer.apply([Purge(gone.id, gone.revision), DropRecord("key", tomb.id, tomb.revision)])

    backlog.executor.backend.write(remove)
    told = "\n".join(compare(backlog, file, value.root).faults)
    assert f"{gone.id}: was removed" in told


def lines_changed(data: bytes) -> bytes:
    """
    Return a seal of which one head was changed.
    """
    return data.replace(b'"revision":1', b'"revision":2', 1)


@pytest.mark.parametrize(
    "damage",
    [lines_changed, lambda data: data[:-9], lambda data: data + b"{}", lambda _: b"", lambda _: b'{"format":"x"}\n',
     lambda data: b"".join(line for number, line in enumerate(data.splitlines(True)) if number != 2)],
)  # fmt: skip
def test_a_seal_that_was_changed_is_refused(backlog: Backlog, damage: Callable[[bytes], bytes]) -> None:
    """A seal that was cut or changed proves nothing, and says so."""
    file, _ = seal(backlog)
    with pytest.raises(InvalidInput, match="seal"):
        compare(backlog, io.BytesIO(damage(file.getvalue())))


def test_the_seal_of_another_root_is_refused(backlog: Backlog) -> None:
    """Whoever kept the root elsewhere notices a seal that was made anew."""
    _, value = seal(backlog)
    backlog.upsert(title="later", dedupe_key="later")
    file, _ = seal(backlog)
    with pytest.raises(InvalidInput, match="another root"):
        compare(backlog, file, value.root)


def test_a_seal_holds_across_stores(backlog: Backlog, tmp_path: Path) -> None:
    """It names heads, not places: a store that was exported and taken in elsewhere is proved by the same seal."""
    from backlog_store.transfer import export_store, import_store

    file, value = seal(backlog)
    export = io.BytesIO()
    export_store(backlog.executor.backend, export)
    export.seek(0)
    with open_backlog(f"sqlite:{tmp_path}/other.db") as other:
        import_store(other.executor.backend, export)
        assert compare(other, file, value.root).kept == value.items


def test_a_shortened_history_is_told_apart(backlog: Backlog) -> None:
    """What a cleanup has forgotten is counted; where the baseline comes right behind it, their link is held."""
    file, value = seal(backlog)
    ids = tuple(item.id for item in backlog.search(limit=None))
    backlog.execute(ShortenHistory(ids=ids, before=backlog.clock()))
    found = compare(backlog, file, value.root)
    assert (found.faults, found.kept) == ([], 0)
    assert found.shortened + found.purged == value.items + value.keys
    forge(backlog, ids[0])
    assert f"{ids[0]}: was rewritten" in compare(backlog, file, value.root).faults[0]


def forge(backlog: Backlog, id: str) -> None:
    """
    Put another baseline in the place of an item's only event.
    """
    item = backlog.get(id)
    (event,) = backlog.events(EventQuery(item_ids=(id,), limit=None))
    plain = {name: getattr(event, name) for name in event.__struct_fields__}
    forged = sealed(type(event)(**plain | {"prev": "0" * 32, "position": ""}))
    backlog.executor.backend.write(lambda writer: writer.apply([Purge(id, item.revision)]))
    backlog.executor.backend.write(lambda writer: writer.apply([Load(rebuild([forged]), (forged,))]))
