"""
The one JSON form of every value: canonical, so that equal values are equal bytes on every backend.

Struct fields stand in the order of their declaration, members of free objects sorted by name, defaults left out, no
white space, UTF-8. An event's position belongs to its backend and is not part of the form. Fields that this version
does not know are kept in `extra` and written back where they stood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from backlog_store.digests import blake2b
from backlog_store.model import Event, Item, Outline, Record

__all__ = [
    "Undecoded",
    "decode_event",
    "decode_item",
    "decode_json",
    "decode_record",
    "digest",
    "encode",
    "encode_event",
    "encode_item",
    "from_builtins",
    "keep_form",
    "to_builtins",
]

T = TypeVar("T")
K = TypeVar("K")

#: Return the canonical JSON of any value of the model, or of plain JSON data, as bytes.
encode = msgspec.json.Encoder(order="deterministic").encode
_items = msgspec.json.Decoder(Item)
_outlines = msgspec.json.Decoder(Outline)
_events = msgspec.json.Decoder(Event)
_records = msgspec.json.Decoder(Record)
_any = msgspec.json.Decoder()
_FORM = "canonical_form"


def decode_json(data: bytes | str) -> Any:
    """
    Return plain JSON data. Raises `msgspec.DecodeError` with the place of the fault.
    """
    return _any.decode(data)


def encode_item(item: Item) -> bytes:
    """
    Return the canonical JSON of an item.
    """
    return _with_extra(item, item.extra) if item.extra else encode(item)


def decode_item(data: bytes | str) -> Item:
    """
    Return the item of a canonical JSON. Raises `msgspec.ValidationError` or `msgspec.DecodeError`.
    """
    try:
        return _items.decode(data)
    except msgspec.ValidationError:
        return _from_newer(data, Item)


class Undecoded(Mapping[K, Item]):
    """
    Items by some name, as they are stored: decoded, by *decode*, when they are looked up, and anew each time.

    What `outline` tells costs half of that, and a tenth of what is done with a whole item.
    """

    def __init__(self, docs: Mapping[K, bytes], decode: Callable[[bytes], Item] = decode_item) -> None:
        self._docs = docs
        self._decode = decode

    def __getitem__(self, name: K) -> Item:
        return self._decode(self._docs[name])

    def __iter__(self) -> Iterator[K]:
        return iter(self._docs)

    def __len__(self) -> int:
        return len(self._docs)

    def __contains__(self, name: object) -> bool:
        return name in self._docs

    def outline(self, name: K) -> Outline:
        """
        Return the outline of an item. Raises `KeyError`, and as `decode_item` does.
        """
        return _outlines.decode(self._docs[name])


def encode_event(event: Event) -> bytes:
    """
    Return the canonical JSON of an event, without its position.
    """
    form: bytes | None = getattr(event, _FORM, None)
    if form is not None:
        return form
    if event.position:
        event = replace(event, position="")
    return _with_extra(event, event.extra) if event.extra else encode(event)


def keep_form(event: Event, form: bytes) -> None:
    """
    Let an event that was just made hold *form*, its canonical JSON, so that it need not be made again to be stored.
    """
    event.__dict__[_FORM] = form


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
    return encode(known | extra)


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


#: From a byte to the base32 digit (RFC 4648, lower case) of its last five bits.
_BASE32 = b"abcdefghijklmnopqrstuvwxyz234567" * 8
_DIGITS = 26


def digest(data: bytes) -> str:
    """
    Return 130 bits of BLAKE2b of *data* as 26 characters of lower-case base32, one for each of its first bytes.
    """
    return blake2b(data).digest()[:_DIGITS].translate(_BASE32).decode()
