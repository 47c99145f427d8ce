"""
Make docs/reference/errors.md from the error classes themselves.

    python scripts/make_error_reference.py            writes the page; a test holds it against the classes
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from backlog_store import errors
from backlog_store.web.problems import CODES, STATUSES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "errors.md"
HEAD = """\
# Errors

<!-- Made by scripts/make_error_reference.py from backlog_store/errors.py and web/problems.py; edit there. -->

Every error of the store is a `BacklogError`. Its `code` is stable: rely on the code or the class, never on the text.
The text says what, where, why and what to do; what it was built from are attributes. The command line ends with the
exit code. Over HTTP it is `application/problem+json` with the code, the attributes, and that status; 412 where the
request named a revision in `If-Match`.

| code | class | is a | attributes | exit code | HTTP |
|---|---|---|---|---|---|
"""
HTTP = """
What the service refuses before the store is asked has one of these codes, or that of its status in small letters, such
as `unauthorized` (401), `precondition_required` (428) or `unsupported_media_type` (415):

| code | status, and when |
|---|---|
"""


def classes(base: type[errors.BacklogError] = errors.BacklogError) -> Iterator[type[errors.BacklogError]]:
    """
    Yield the error classes of `backlog_store.errors`, each before those that derive from it.
    """
    yield base
    for derived in base.__subclasses__():
        if derived.__module__ == errors.__name__:
            yield from classes(derived)


def attributes(cls: type[errors.BacklogError]) -> tuple[str, ...]:
    """
    Return the names of the attributes that an error of this class has beyond its message and hint.
    """
    return tuple(name for name in inspect.signature(cls).parameters if name not in ("message", "hint"))


def render() -> str:
    """
    Return the page.
    """
    rows, details = [], []
    for cls in classes():
        exits = next(errors.EXIT_CODES[one] for one in cls.__mro__ if one in errors.EXIT_CODES)
        bases = ", ".join(f"`{base.__name__}`" for base in cls.__bases__)
        shown = ", ".join(f"`{name}`" for name in attributes(cls)) or "none"
        status = next(STATUSES[one] for one in cls.__mro__ if one in STATUSES)
        rows.append(f"| [`{cls.code}`](#{cls.code}) | `{cls.__name__}` | {bases} | {shown} | {exits} | {status} |")
        details.append(f"## {cls.code}\n\n`{cls.__name__}`: {' '.join((inspect.getdoc(cls) or '').split())}\n")
    rows.append("| none | `KeyboardInterrupt` | `BaseException` | none | 130 | none |")
    of_http = [f"| `{code}` | {told} |" for code, told in CODES.items()]
    return HEAD + "\n".join(rows) + "\n" + HTTP + "\n".join(of_http) + "\n\n" + "\n".join(details)


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
