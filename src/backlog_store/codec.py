"""
The one JSON form of every value: canonical, so that equal values are equal bytes on every backend.

Struct fields stand in the order of their declaration, members of free objects sorted by name, defaults left out, no
white space, UTF-8. An event's position belongs to its backend and is not part of the form. Fields that this version
does not know are kept in `extra` and written back where they stood.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from backlog_store.model import Event, Item, Record

__all__ = [
    "decode_event",
    "decode_item",
    "decode_json",
    "decode_record",
    "digest",
    "encode",
    "encode_event",
    "encode_item",
    "from_builtins",
    "to_builtins",
]

T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="deterministic")
_items = msgspec.json.Decoder(Item)
_events = msgspec.json.Decoder(Event)
_records = msgspec.json.Decoder(Record)
_any = msgspec.json.Decoder()


def encode(value: Any) -> bytes:
    """
    Return the canonical JSON of any value of the model, or of plain JSON data.
    """
    return _encoder.encode(value)


def decode_json(data: bytes | str) -> Any:
    """
    Return plain JSON data. Raises `msgspec.DecodeError` with the place of the fault.
    """
    return _any.decode(data)


def encode_item(item: Item) -> bytes:
    """
    Return the canonical JSON of an item.
    """
    return _with_extra(item, item.extra) if item.extra else _encoder.encode(item)


def decode_item(data: bytes | str) -> Item:
    """
    Return the item of a canonical JSON. Raises `msgspec.ValidationError` or `msgspec.DecodeError`.
    """
    try:
        return _items.decode(data)
    except msgspec.ValidationError:
        return _from_newer(data, Item)


def encode_event(event: Event) -> bytes:
    """
    Return the canonical JSON of an event, without its position.
    """
    if event.position:
        event = replace(event, position="")
    return _with_extra(event, event.extra) if event.extra else _encoder.encode(event)


def decode_event(data: bytes | str, *, position: str = "") -> Event:
    """
    Return the event of a canonical JSON, at this position.
    """
    try:
        event = _events.decode(data)
    except msgspec.ValidationError:
        event = _from_newer(data, Event)
    return replace(event, position=position) if position else event


def _with_extra(value: Item | Event, extra: dict[str, Any]) -> bytes:
    known: dict[str, Any] = to_builtins(replace(value, extra={}))
    return _encoder.encode(known | extra)


def _from_newer(data: bytes | str, cls: type[T]) -> T:
    """
    Decode what a newer version may have written: members unknown here go to `extra`; any other fault is raised.
    """
    plain = _any.decode(data)
    if not isinstance(plain, dict):
        raise msgspec.ValidationError(f"expected a JSON object for {cls.__name__}")
    names = cls.__struct_fields__  # type: ignore[attr-defined]
    unknown = {name: plain.pop(name) for name in list(plain) if name not in names}
    if unknown:
        plain["extra"] = unknown
    return msgspec.convert(plain, cls)


def decode_record(data: bytes | str) -> Record:
    """
    Return the record of a canonical JSON.
    """
    return _records.decode(data)


def to_builtins(value: Any) -> Any:
    """
    Return a value of the model as plain JSON data (dicts, lists, texts, numbers).
    """
    return msgspec.to_builtins(value, order="deterministic")


def from_builtins(value: Any, cls: type[T]) -> T:
    """
    Return plain JSON data as a value of the model. Raises `msgspec.ValidationError`.
    """
    return msgspec.convert(value, cls)


_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = tuple(first + second for first in _BASE32 for second in _BASE32)


def digest(data: bytes) -> str:
    """
    Return the first 130 bits of SHA-256 of *data* as 26 characters of lower-case base32 (RFC 4648).
    """
    bits = int.from_bytes(hashlib.sha256(data).digest()[:17], "big") >> 6
    # Ten bits at a time: the standard library's encoder costs eight times as much, and ids are made on every write.
    return "".join([_PAIRS[bits >> shift & 1023] for shift in _SHIFTS])


_SHIFTS = tuple(range(120, -1, -10))
