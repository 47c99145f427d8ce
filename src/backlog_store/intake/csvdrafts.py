"""
Drafts as CSV (RFC 4180; also with semicolons or tabs), the first row naming the columns.

A column named like a field of a draft fills it; others are mapped by hand: ``--map title=Summary --map
meta.ticket=Key``. Columns that nothing takes are told, not kept.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from backlog_store.errors import Fault, InvalidInput
from backlog_store.intake.drafts import check_mapping, draft_of
from backlog_store.intake.keys import Ordinals
from backlog_store.intake.streams import Chained, check_utf8, read_all
from backlog_store.intake.values import Finding, Notice, Parsed, Refusal, ReportContext
from backlog_store.model import Draft

__all__ = ["parse"]

#: Fields that a cell can fill; the rest of a draft are objects (``meta.NAME`` fills a member of one).
_CELLS = frozenset(Draft.__struct_fields__) - {"meta", "evidence_refs", "key_inputs", "volatile"}
_HEADER_MAX = 1_000_000
_TAGS = re.compile(r"[,;\s]+")


def parse(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield the draft of each row. Raises `InvalidInput` for a header that cannot be used, and for text that is no UTF-8.
    """
    check_mapping(context)
    data = read_all(stream)
    check_utf8(data)
    # Once through for the quotes, so that a report cut off inside a cell is refused before its first row is taken in.
    for _ in _rows(data):
        pass
    rows = _rows(data)
    header = _header(next(rows, (1, []))[1], context)
    taken = _taken(context)
    unused = [name for name in header if name not in taken]
    if unused:
        yield Notice("line 1", f"columns that no field takes: {', '.join(unused)}; name them with --map")
    ordinals = Ordinals()
    for line, row in rows:
        pointer = f"line {line}"
        try:
            yield Finding(_draft(header, row, context, ordinals), pointer)
        except InvalidInput as error:
            yield Refusal(pointer, error.faults)


def _rows(data: bytearray) -> Iterator[tuple[int, list[str]]]:
    """
    Yield the rows that are not empty, each with the number of its last line. Raises `InvalidInput`.
    """
    text = io.TextIOWrapper(io.BufferedReader(Chained(data)), encoding="utf-8", newline="")
    first = text.readline(_HEADER_MAX)
    reader = csv.reader(_chain(first, text), delimiter=max(",;\t", key=first.count), strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num, row
    except csv.Error as error:
        raise InvalidInput([Fault(f"line {reader.line_num}", "", f"not valid CSV: {error}")], what="report") from None


def _chain(first: str, rest: io.TextIOWrapper) -> Iterator[str]:
    yield first
    yield from rest


def _taken(context: ReportContext) -> set[str]:
    return {*context.mapping.values(), *(_CELLS - set(context.mapping))}


def _header(row: list[str], context: ReportContext) -> list[str]:
    header = [name.strip() if name.strip() in context.mapping.values() else _field(name) for name in row]
    faults = [Fault("line 1", name, "a column twice") for name in sorted({n for n in header if header.count(n) > 1})]
    faults += [
        Fault(f"/map/{field}", column, f"no such column; columns: {', '.join(header)}")
        for field, column in context.mapping.items()
        if column not in header
    ]
    if "title" not in header and "title" not in context.mapping:
        faults.append(Fault("line 1", ", ".join(header), "no column for the title; name it with --map title=COLUMN"))
    if faults:
        raise InvalidInput(faults, what="report")
    return header


def _field(name: str) -> str:
    """
    Return the field that a column is named after (``Due date`` → ``due_date``), else the name as it is.
    """
    name = name.strip()
    plain = re.sub(r"[\s-]+", "_", name.lower())
    return plain if plain in _CELLS else name


def _draft(header: list[str], row: list[str], context: ReportContext, ordinals: Ordinals) -> Draft:
    if len(row) != len(header):
        raise InvalidInput([Fault("", f"{len(row)} cells", f"the header names {len(header)} columns")], what="row")
    taken = _taken(context)
    cells: dict[str, Any] = {name: cell for name, cell in zip(header, row, strict=True) if name in taken}
    tags = context.mapping.get("tags", "tags")
    if tags in cells:
        cells[tags] = [tag for tag in _TAGS.split(cells[tags]) if tag]
    # An empty cell says nothing, so the field's default stands.
    cells = {name: cell if cell != "" else None for name, cell in cells.items()}
    return draft_of(cells, context, ordinals, kind="csv")
