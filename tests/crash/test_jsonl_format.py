"""
The form of the journal is a promise: what the reference page says of it holds for files that this program writes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from backlog_store.backends.jsonl import open_jsonl
from backlog_store.backends.jsonl.lines import Damaged, effects_of, header_of, transaction_line
from backlog_store.backends.port import DropRecord, Purge, PutRecord, Sighting
from backlog_store.codec import decode_event, decode_item, decode_record, encode, encode_event, encode_item
from backlog_store.testing.clocks import START
from backlog_store.testing.conformance.base import apply, events_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import NASTY, Sampler, a_record, first, then

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "journal-format.md"


def blocks(language: str) -> list[str]:
    """
    Return the page's code blocks of this language.
    """
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """
    A store in which every kind of effect occurs, with nasty texts.
    """
    folder = tmp_path / "store"
    store = open_jsonl(folder)
    items = Sampler(8).items(30)
    apply(store, *(first(item) for item in items))
    apply(store, *(PutRecord(a_record(text, text=text)) for text in NASTY))
    apply(store, *(Sighting(item.id, "ruff", START, START) for item in items))
    apply(store, Purge(items[0].id, 1), then(items[1], title="\t\n\x7f tab"), DropRecord("view", "a", 1))
    apply(store, Purge(items[1].id, 2), then(items[2]))
    store.close()
    return folder


def test_the_example_lines_of_the_page_are_what_an_empty_store_holds(tmp_path: Path) -> None:
    """The two lines that the page shows are the bytes of a new store."""
    open_jsonl(tmp_path).close()
    assert blocks("")[0].replace("→", "\t").encode() == (tmp_path / "journal.jsonl").read_bytes()


@pytest.mark.parametrize("compacted", [False, True])
def test_the_reader_on_the_page_reads_what_the_store_holds(folder: Path, compacted: bool) -> None:
    """A dozen lines of plain Python find the same items, events with positions, and records as the store."""
    store = open_jsonl(folder)
    if compacted:
        store.compact()
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    items, events, records = names["read"](folder / "journal.jsonl")
    lines = [b"item " + encode_item(decode_item(json.dumps(items[id]))) for id in sorted(items)]
    lines += [b"event " + encode_event(decode_event(json.dumps(event))) for event in events.values()]
    for kind, id in sorted(records):
        record = decode_record(json.dumps(records[kind, id]))
        body = record.body if kind == "sighting" else record
        lines.append(b" ".join((b"record", kind.encode(), encode(id), encode(body))))
    assert sorted(lines) == sorted(contents(store))
    assert [f"{position:016d}" for position in events] == [event.position for event in events_of(store)]


def test_every_line_is_json_and_its_bodies_are_canonical(folder: Path) -> None:
    """Each line is one JSON object, tabs stand around bodies only, and each body is in its canonical form."""
    for line in (folder / "journal.jsonl").read_bytes().splitlines()[1:]:
        whole = json.loads(line)
        bodies = line.split(b"\t")[1::2]
        assert whole["effects"][1::2] == [json.loads(body) for body in bodies]
        assert bodies == [_canonical(kind, body) for kind, body in zip(whole["effects"][::2], bodies, strict=True)]


def _canonical(kind: str, body: bytes) -> bytes:
    if kind == "item":
        return encode_item(decode_item(body))
    if kind == "event":
        return encode_event(decode_event(body))
    return encode(decode_record(body)) if kind == "record" else encode(json.loads(body))


def test_a_line_says_what_it_was_given() -> None:
    """Number and effects come back from a line as they went in."""
    effects = [(b"item", b"{}"), (b"purge", b'"x"'), (b"at", b"7")]
    assert effects_of(transaction_line(42, effects)) == (42, effects)


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"{}\n", b"null\n", transaction_line(1, [(b"item", b"{}")])[:-1],
        transaction_line(1, [(b"bogus", b"{}")]), transaction_line(1, [(b"item", b"{}")]) + b" ",
    ],
    ids=range(7),
)  # fmt: skip
def test_what_is_no_transaction_is_damaged(line: bytes) -> None:
    """Nothing else is taken for a transaction, also where its checksum fits."""
    with pytest.raises(Damaged):
        effects_of(line)
    with pytest.raises(Damaged):
        header_of(line)
