from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backlog_store.codec import (
    decode_event,
    decode_item,
    decode_json,
    decode_record,
    digest,
    encode,
    encode_event,
    encode_item,
    from_builtins,
    to_builtins,
)
from backlog_store.model import Draft, Event, Item, Record
from backlog_store.testing.samples import an_event, an_item
from backlog_store.testing.strategies import documents, drafts, events, items, records, texts


@given(items())
def test_an_item_survives_its_canonical_form(item: Item) -> None:
    """Decoding what was encoded gives the same item, and encoding that the same bytes."""
    data = encode_item(item)
    assert decode_item(data) == item
    assert encode_item(decode_item(data)) == data


@given(events(), texts())
def test_an_event_survives_without_its_position(event: Event, position: str) -> None:
    """A position is the backend's: it is not in the bytes, and is given when decoding."""
    data = encode_event(replace(event, position=position))
    assert decode_event(data) == event
    assert encode_event(decode_event(data, position=position)) == data
    assert decode_event(data, position=position).position == position


@given(records())
def test_a_record_survives_its_canonical_form(record: Record) -> None:
    """Decoding what was encoded gives the same record, and encoding that the same bytes."""
    data = encode(record)
    assert decode_record(data) == record
    assert encode(decode_record(data)) == data


@given(drafts())
def test_a_draft_survives_as_plain_data(draft: Draft) -> None:
    """A value turned into dicts and lists and back is the same value, through any JSON writer."""
    assert from_builtins(json.loads(json.dumps(to_builtins(draft))), Draft) == draft


@given(documents(), st.randoms(use_true_random=False))
def test_equal_documents_are_equal_bytes(document: dict[str, Any], random: Any) -> None:
    """The order in which members were put in makes no difference."""
    assert encode(_shuffled(document, random)) == encode(document)


def _shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        names = list(value)
        random.shuffle(names)
        return {name: _shuffled(value[name], random) for name in names}
    return [_shuffled(part, random) for part in value] if isinstance(value, list) else value


@given(documents())
def test_the_form_is_json_for_everybody(document: dict[str, Any]) -> None:
    """Another JSON reader reads the same, and no line feed stands in it, so that a line is a value."""
    data = encode(document)
    assert json.loads(data) == document
    assert b"\n" not in data
    assert decode_json(data) == document


def test_defaults_are_left_out() -> None:
    """A value that is what it would be anyway costs no bytes."""
    assert json.loads(encode_item(an_item("bl_1"))) == {
        "id": "bl_1", "revision": 1, "env": "prod", "status": "open", "priority": "P2", "title": "About bl_1",
        "created_at": "2026-03-01T09:30:00.000000Z", "updated_at": "2026-03-01T09:30:00.000000Z",
    }  # fmt: skip


@given(items(), st.dictionaries(st.text("xyz", min_size=9, max_size=12), documents(), min_size=1, max_size=3))
def test_an_item_of_a_newer_version_survives(item: Item, unknown: dict[str, Any]) -> None:
    """Members that this version does not know are kept in `extra` and stand in the bytes as they did."""
    data = encode({**json.loads(encode_item(item)), **unknown})
    decoded = decode_item(data)
    assert decoded.extra == unknown
    assert json.loads(encode_item(decoded)) == json.loads(data)
    assert encode_item(decode_item(encode_item(decoded))) == encode_item(decoded)


@given(events(), st.dictionaries(st.text("xyz", min_size=9, max_size=12), documents(), min_size=1, max_size=3))
def test_an_event_of_a_newer_version_survives(event: Event, unknown: dict[str, Any]) -> None:
    """The same holds for events."""
    data = encode({**json.loads(encode_event(event)), **unknown})
    decoded = decode_event(data)
    assert decoded.extra == unknown
    assert encode_event(decode_event(encode_event(decoded))) == encode_event(decoded)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b'"text"', b"{}", b'{"id": 1}', b'{"id": "x", "nonsense": 1}', b"\xff", b"{}{}",
        encode_item(an_item()).replace(b'"revision":1', b'"revision":"1"'),
        encode_item(an_item())[:-2],
    ],
)  # fmt: skip
def test_what_is_no_item_is_refused(data: bytes) -> None:
    """Damaged or foreign bytes raise msgspec's own error, never another one, and give no half item."""
    with pytest.raises(msgspec.MsgspecError):
        decode_item(data)
    with pytest.raises(msgspec.MsgspecError):
        decode_event(data)
    with pytest.raises(msgspec.MsgspecError):
        decode_record(data)


@given(st.binary(max_size=60))
def test_no_bytes_at_all_raise_anything_else(data: bytes) -> None:
    """Whatever the bytes, decoding gives a value or msgspec's error."""
    for decode in (decode_item, decode_event, decode_record, decode_json):
        try:
            decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue


def test_a_nesting_beyond_all_bounds_is_refused() -> None:
    """A document nested a million deep is an error, not the end of the process."""
    with pytest.raises((msgspec.MsgspecError, RecursionError)):
        decode_json(b"[" * 1_000_000 + b"]" * 1_000_000)


def test_a_digest_is_short_and_depends_on_every_byte() -> None:
    """26 letters and digits hold 130 bits of BLAKE2b; one other bit is another digest."""
    # The well-known BLAKE2b of nothing begins so; the digits are those of RFC 4648.
    nothing = bytes.fromhex("786a02f742015903c6c6fd852552d272912f4740e15847618a86")
    assert digest(b"") == "".join("abcdefghijklmnopqrstuvwxyz234567"[byte % 32] for byte in nothing)
    assert digest(b"a") != digest(b"b")


def test_texts_that_are_no_unicode_are_refused() -> None:
    """A lone surrogate has no UTF-8 form, so nothing with one is ever written."""
    with pytest.raises(UnicodeEncodeError):
        encode_event(an_event(an_item(), message="\ud800"))
