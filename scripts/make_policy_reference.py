"""
Make docs/reference/policy.md from the structs of the sections themselves.

    python scripts/make_policy_reference.py           writes the page; a test holds it against the structs
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec.inspect as mi
from msgspec import NODEFAULT

from backlog_store.policy import matching
from backlog_store.policy.forms import shown_duration
from backlog_store.policy.sections import SECTIONS
from backlog_store.policy.typed import struct_fields

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "policy.md"
HEAD = """\
# The policy file

<!-- Made by scripts/make_policy_reference.py from backlog_store/policy; edit there. -->

Every key that a policy may have. The [guide](../guides/policy.md) says how one is written, tried and applied. The file
is YAML, or TOML if its name ends in `.toml`; a section that is left out changes nothing. A key that is not here is a
fault.

An *instant* is `2026-12-01T22:00Z` (or a day, for its midnight UTC), a *length of time* `90s`, `30m`, `12h`, `7d` or
`2w`, a *day* `2026-12-24`. In YAML, words are what they look like: `no` is a text and `22:30` no number.

"""


def described(wanted: mi.Type) -> tuple[mi.Type, str, str]:
    """
    Return the type itself, its description, and the name of its form.
    """
    description = title = ""
    while isinstance(wanted, mi.Metadata):
        schema = wanted.extra_json_schema or {}
        description = description or schema.get("description", "")
        title = title or schema.get("title", "")
        wanted = wanted.type
    return wanted, description, title


def kind(wanted: mi.Type) -> str:
    """
    Return what may stand for a value, in words.
    """
    bare, _, title = described(wanted)
    if title == "condition":
        return "[condition](#conditions)"
    if title:
        return title + bounds(bare, lengths=title == "length of time")
    match bare:
        case mi.LiteralType(values):
            return " \\| ".join(f"`{value}`" for value in values)
        case mi.IntType():
            return "number" + bounds(bare)
        case mi.FloatType():
            return "number" + bounds(bare)
        case mi.BoolType():
            return "`true` \\| `false`"
        case mi.StrType():
            return "text"
        case mi.ListType(item_type) | mi.VarTupleType(item_type):
            return f"list of {kind(item_type)}"
        case mi.DictType(key_type, value_type):
            return f"table: {kind(key_type)} to {kind(value_type)}"
        case mi.StructType(cls):
            return f"[{cls.__name__}](#{cls.__name__.lower()})"
        case mi.UnionType(types):
            return " or ".join(kind(one) for one in types if not isinstance(one, mi.NoneType))
    raise AssertionError(bare)


def bounds(wanted: mi.Type, *, lengths: bool = False) -> str:
    """
    Return the bounds of a number, in words.
    """
    if not isinstance(wanted, mi.IntType | mi.FloatType) or (wanted.ge is None and wanted.le is None):
        return ""
    least, most = (shown_duration(int(one)) if lengths and one is not None else "" if one is None else f"{one:,}"
                   for one in (wanted.ge, wanted.le))  # fmt: skip
    return f", {least} to {most}" if least and most else f", at least {least}" if least else f", at most {most}"


def default(field: mi.Field) -> str:
    """
    Return what holds where a key is left out.
    """
    if field.required:
        return "required"
    value = field.default_factory() if field.default is NODEFAULT else field.default
    if value in (None, "", (), {}, []):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if described(field.type)[2] == "length of time":
        return f"`{shown_duration(value)}`"
    return f"`{value}`" if isinstance(value, str | int | float) else ""


def structs(wanted: mi.Type) -> Iterator[type]:
    """
    Yield the structs that a type is made of, itself included.
    """
    bare = described(wanted)[0]
    if isinstance(bare, mi.StructType):
        yield bare.cls
    inner: list[Any] = [getattr(bare, name, None) for name in ("item_type", "key_type", "value_type")]
    for one in [*inner, *getattr(bare, "types", ())]:
        if one is not None:
            yield from structs(one)


def table(cls: type) -> Iterator[str]:
    """
    Yield the rows of a struct's keys.
    """
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for field in struct_fields(cls):
        meaning = described(field.type)[1]
        yield f"| `{field.encode_name}` | {kind(field.type)} | {default(field)} | {meaning} |"


def page_of(cls: type, level: str, title: str, told: set[type]) -> Iterator[str]:
    """
    Yield a struct's heading, what it is, its keys, and the structs inside of it, each once.
    """
    told.add(cls)
    doc = " ".join((inspect.getdoc(cls) or "").split())
    yield from (f"{level} {title}", "", doc, "", *table(cls), "")
    for field in struct_fields(cls):
        for inner in structs(field.type):
            if inner not in told:
                yield from page_of(inner, "###", inner.__name__, told)


def render() -> str:
    """
    Return the page.
    """
    lines: list[str] = []
    told: set[type] = set()
    for name, cls in SECTIONS.items():
        lines += page_of(cls, "##", name, told)
    text = inspect.cleandoc(matching.__doc__ or "")
    example = text.partition("::\n\n")[2].partition("\n\n")[0].strip()
    prose = text.partition(example)[2].partition("====")[0].strip().replace("``", "`")
    rows = [row.split("  ", 1) for row in text.partition("====")[2].splitlines() if row.startswith("``")]
    lines += ["## Conditions", "", "```yaml", example, "```", "", prose, "", "| field | is |", "|---|---|"]
    lines += [f"| {name.replace('``', '`')} | {what.strip().replace('``', '`')} |" for name, what in rows]
    names = ", ".join(f"`{name}`" for name in matching.FIELDS)
    lines += ["", f"All of them: {names}, `meta.NAME`, `input.NAME`.", ""]
    return HEAD + "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
