"""
Drafts as JSON (an object, or an array of them) and as NDJSON (one a line), with the names of `model.Draft`.

A draft that brings its dedupe key keeps it as it is: the key is in the caller's hand. One that brings none gets a key
of source, service and title, so that the same file again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from msgspec import Raw
from msgspec.structs import replace

from backlog_store.errors import Fault, InvalidInput
from backlog_store.instants import parse_instant
from backlog_store.intake import text as t
from backlog_store.intake.jsontext import decode
from backlog_store.intake.keys import Ordinals, dedupe_key, fingerprint, inputs
from backlog_store.intake.severity import TABLES, priority
from backlog_store.intake.streams import read_all
from backlog_store.intake.values import Finding, Parsed, Refusal, ReportContext
from backlog_store.model import PRIORITIES, Draft
from backlog_store.rules.checks import draft_from

__all__ = ["check_mapping", "draft_of", "parse_json", "parse_lines"]

_LINE_MAX = 4 * 1024 * 1024
_FREE = ("meta.", "evidence_refs.")


def parse_json(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield the draft, or each draft of the array.
    """
    check_mapping(context)
    data = read_all(stream)
    ordinals = Ordinals()
    if data[:1_000].lstrip()[:1] == b"{":
        decode(data, Raw, "")  # cut off is not faulty: it is refused as a whole
        yield _parsed(data, "", context, ordinals)
        return
    for index, raw in enumerate(decode(data, list[Raw], "")):
        yield _parsed(raw, f"/{index}", context, ordinals)


def parse_lines(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield the draft of each line; empty lines are passed over. One line at a time is held.
    """
    check_mapping(context)
    ordinals = Ordinals()
    number = 0
    while line := stream.readline(_LINE_MAX + 1):
        number += 1
        pointer = f"line {number}"
        if len(line) > _LINE_MAX:
            yield Refusal(pointer, (Fault("", "", f"longer than {_LINE_MAX} bytes"),))
            while line and not line.endswith(b"\n"):
                line = stream.readline(_LINE_MAX)
        elif line.strip():
            yield _parsed(line.removeprefix(b"\xef\xbb\xbf"), pointer, context, ordinals)


def _parsed(raw: Any, pointer: str, context: ReportContext, ordinals: Ordinals) -> Parsed:
    try:
        return Finding(draft_of(decode(raw, dict[str, Any], ""), context, ordinals, kind="draft"), pointer)
    except InvalidInput as error:
        return Refusal(pointer, error.faults)


def check_mapping(context: ReportContext) -> None:
    """
    Refuse a mapping to fields that a draft does not have. Raises `InvalidInput` with all of them.
    """
    known = Draft.__struct_fields__
    faults = [
        Fault(f"/map/{name}", context.mapping[name],
              f"no field of a draft; fields: {', '.join(known)}, meta.NAME, evidence_refs.NAME")
        for name in context.mapping
        if name not in known and not name.startswith(_FREE)
    ]  # fmt: skip
    if faults:
        raise InvalidInput(faults, what="mapping")


def draft_of(given: Mapping[str, Any], context: ReportContext, ordinals: Ordinals, *, kind: str) -> Draft:
    """
    Return the draft of an object, renamed by the mapping and completed from the context.

    Raises `InvalidInput` with every fault of type and name.
    """
    fields = _renamed(given, context.mapping)
    fields = {name: value for name, value in fields.items() if value is not None}
    word = fields.get("priority", "")
    if context.priority is not None:
        fields["priority"] = context.priority
    elif isinstance(word, str) and word not in PRIORITIES:
        low = word.strip().lower()
        if not low or low in TABLES["drafts"] or low in context.severities:
            fields["priority"] = priority(context, "drafts", low)
    when = fields.get("observed_at")
    if isinstance(when, str) and when:
        try:
            fields["observed_at"] = parse_instant(when)
        except (ValueError, OverflowError):
            raise InvalidInput([Fault("/observed_at", when, "not a date and time (ISO 8601)")], what="draft") from None
    draft = draft_from(fields)
    draft = replace(
        draft,
        env=draft.env if "env" in fields else context.env or draft.env,
        service=draft.service or context.service,
        source=context.source or (draft.source if "source" in fields else kind),
        category=context.category or draft.category,
        tags=tuple(dict.fromkeys([*draft.tags, *context.tags])),
    )
    return draft if draft.dedupe_key else _keyed(draft, ordinals)


def _renamed(given: Mapping[str, Any], mapping: Mapping[str, str]) -> dict[str, Any]:
    taken = set(mapping.values())
    fields = {name: value for name, value in given.items() if name not in taken or name in mapping}
    for name, column in mapping.items():
        if column not in given:
            raise InvalidInput([Fault(f"/{column}", "", f"missing; it was mapped to {name}")], what="draft")
        holder, dot, member = name.partition(".")
        if dot and given[column] is not None:
            inner = fields.setdefault(holder, {})
            if isinstance(inner, dict):
                fields[holder] = {**inner, member: given[column]}
        elif not dot:
            fields[name] = given[column]
    return fields


def _keyed(draft: Draft, ordinals: Ordinals) -> Draft:
    title = t.one_line(draft.title, 1_000)
    key = dedupe_key(draft.source, draft.service, title, fingerprint(draft.env, draft.source, draft.service, title))
    nth = ordinals.next(key)  # each row is a problem of its own
    named = inputs(source=draft.source, service=draft.service, title=title, nth="" if nth == 1 else str(nth))
    return replace(draft, dedupe_key=key if nth == 1 else f"{key}#{nth}", key_inputs=draft.key_inputs or named)
