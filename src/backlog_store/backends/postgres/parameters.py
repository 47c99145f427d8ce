"""
Parameters of statements as PostgreSQL reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from backlog_store.errors import Fault, InvalidInput

__all__ = ["Binary", "Value", "array", "array_of_documents", "encoded"]

#: What a parameter may be. Lists go as an array, ``None`` as NULL.
Value = str | int | bool | bytes | None | Sequence[str]


class Binary(bytes):
    """
    A parameter in PostgreSQL's binary form.
    """


def encoded(value: Value) -> bytes | None:
    """
    Return a parameter as it is sent. Raises `InvalidInput` for a text that no column can hold.
    """
    match value:
        case str():
            form = _utf8(value)
        case None:
            return None
        case True:
            return b"t"
        case False:
            return b"f"
        case int():
            return b"%d" % value
        case Binary():
            return value
        case bytes():
            form = value
        case _:
            form = array(value)
    if b"\0" in form:
        # libpq would cut the text there, silently.
        raise _unstorable(form.decode("utf-8", "replace"))
    return form


def array(values: Sequence[str]) -> bytes:
    """
    Return texts as PostgreSQL writes an array of them.
    """
    if not values:
        return b"{}"
    # Escaped all together: no text may hold the NUL that stands between them.
    joined = "\0".join(values)
    if joined.count("\0") >= len(values):
        raise _unstorable(next(value for value in values if "\0" in value))
    escaped = joined.replace("\\", "\\\\").replace('"', '\\"').replace("\0", '","')
    return _utf8(f'{{"{escaped}"}}')


def array_of_documents(values: Sequence[bytes]) -> Binary:
    """
    Return texts in UTF-8 as an array in PostgreSQL's binary form, where nothing is escaped: JSON is full of quotes.
    """
    parts = [_ARRAY_OF_TEXTS, len(values).to_bytes(4, "big"), _FIRST_INDEX]
    for value in values:
        parts += (len(value).to_bytes(4, "big"), value)
    return Binary(b"".join(parts))


#: One dimension, no NULL, elements of the type `text`; then how many there are, and the index of the first.
_ARRAY_OF_TEXTS = b"".join(number.to_bytes(4, "big") for number in (1, 0, 25))
_FIRST_INDEX = (1).to_bytes(4, "big")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _unstorable(text) from error


def _unstorable(text: str) -> InvalidInput:
    fault = Fault("", repr(text)[:80], "a text holds neither NUL nor lone surrogates")
    return InvalidInput([fault], what="text")
