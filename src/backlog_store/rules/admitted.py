"""
Who may sign in, as it is kept: tokens, people, sessions. What is decided about them: `rules.granting`.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from backlog_store.backends.port import Reader
from backlog_store.backends.scanning import each_record
from backlog_store.codec import from_builtins
from backlog_store.credentials import Person, Session, Token, administers, state_of
from backlog_store.errors import NotFound
from backlog_store.instants import Instant
from backlog_store.model import Record

__all__ = [
    "SECRETS", "access_records", "administering", "people", "person_in", "person_named", "person_of", "person_record",
    "sessions", "token_named", "tokens", "without_secrets",
]  # fmt: skip

#: Fields of what is kept of who may sign in and who is told that nobody is shown.
SECRETS = ("digest", "before", "password", "secret")


def access_records(reader: Reader) -> Iterator[Record]:
    """
    Yield every record of tokens and people, and the head of their trail.
    """
    yield from each_record(reader, "access")


def tokens(reader: Reader) -> Iterator[Token]:
    """
    Yield every token, also those that hold no longer.
    """
    return (from_builtins(record.body, Token) for record in each_record(reader, "access", "token/"))


def token_named(reader: Reader, name: str, now: Instant) -> tuple[int, Token]:
    """
    Return the token of a name and the revision of its record: the one that holds, else the newest. Raises `NotFound`.
    """
    found = [record for record in each_record(reader, "access", "token/") if record.body.get("name") == name]
    if not found:
        raise NotFound("token", name, hint="`backlog token list` shows them.")
    record = max(found, key=lambda one: (state_of(from_builtins(one.body, Token), now) == "holds", one.body["at"]))
    return record.revision, from_builtins(record.body, Token)


def people(reader: Reader) -> Iterator[tuple[int, Person]]:
    """
    Yield every person that may sign in, with the revision of the record.
    """
    for record in each_record(reader, "access", "person/"):
        person = from_builtins(record.body, Person)
        if not person.removed_at:
            yield record.revision, person


def person_named(reader: Reader, name: str) -> tuple[int, Person]:
    """
    Return who signs in under a name, and the revision of the record. Raises `NotFound`.
    """
    id = person_record(name)
    return person_in(reader.records("access", [id]).get(id), name)


def sessions(reader: Reader, name: str) -> Iterator[tuple[str, Session]]:
    """
    Yield the sessions of a person, each with the digest of its secret; those among them that ended by themselves, too.
    """
    for record in each_record(reader, "session"):
        if record.body.get("name") == name:
            yield record.id, from_builtins(record.body, Session)


def person_of(reader: Reader, subject: str, name: str = "") -> Person | None:
    """
    Return the person that a provider's *subject* is here, also one who was removed; *name* is looked at first.
    """
    likely = reader.records("access", [person_record(name)]).get(person_record(name)) if name else None
    if likely is not None and likely.body.get("subject") == subject:
        return from_builtins(likely.body, Person)
    # A scan: only who was renamed there, or is new here, comes as far.
    found = (record.body for record in each_record(reader, "access", "person/"))
    return next((from_builtins(body, Person) for body in found if body.get("subject") == subject), None)


def person_in(record: Record | None, name: str) -> tuple[int, Person]:
    """
    Return who a record says signs in as *name*, and its revision. Raises `NotFound`.
    """
    person = from_builtins(record.body, Person) if record is not None else None
    if record is None or person is None or person.removed_at:
        raise NotFound("person", name, hint="`backlog person list` shows who may sign in.")
    return record.revision, person


def administering(reader: Reader, now: Instant) -> Iterator[Person | Token]:
    """
    Yield the people and the tokens that may administer everything now.
    """
    yield from (person for _, person in people(reader) if administers(person, now))
    yield from (token for token in tokens(reader) if administers(token, now))


def person_record(name: str) -> str:
    """
    Return the id of a person's record.
    """
    return f"person/{name}"


def without_secrets(record: Record) -> Record:
    """
    Return a record of a token or person without what is kept of its secret.
    """
    return replace(record, body={name: value for name, value in record.body.items() if name not in SECRETS})
