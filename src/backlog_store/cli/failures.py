"""
How errors are told: what, why, what to do; as text, or as JSON for a command that was asked for JSON.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from backlog_store.cli.app import App
from backlog_store.cli.text import cut, neutral, paint
from backlog_store.codec import encode
from backlog_store.errors import AmbiguousId, BacklogError, InvalidInput, InvalidQuery, exit_code
from backlog_store.redacting import redacted

__all__ = ["tell_failure"]

_SHOWN = 20
_CANDIDATES = 5
_FIELDS = ("id", "kind", "candidates", "titles", "expected", "found", "held_by", "from_status", "to_status", "allowed",
           "path", "offset", "backend", "operation", "setting", "suggestion", "request_id")  # fmt: skip


def tell_failure(app: App, error: BaseException, *, as_json: bool) -> int:
    """
    Write an error to stderr and return the exit code.
    """
    if isinstance(error, click.Abort | KeyboardInterrupt):
        _write(app, ["Stopped; nothing more was done."] if not as_json else [])
        return 130
    code, message, details, hint = _parts(error)
    if as_json:
        body = {"code": code, "message": message.strip(), **({"hint": hint} if hint else {}), **_fields(error)}
        click.echo(redacted(encode({"error": body}).decode()), err=True)
    else:
        colored = app.colors(sys.stderr)
        lines = [f"{paint('error:', 'red', on=colored)} {neutral(message, lines=True)}"]
        lines += [f"  {neutral(line)}" for line in details]
        if hint:
            lines.append(f"{paint('hint:', 'cyan', on=colored)} {neutral(hint, lines=True)}")
        _write(app, lines)
    if app.debug:
        import traceback

        click.echo(redacted("".join(traceback.format_exception(error))), err=True)
    if isinstance(error, click.ClickException):
        return error.exit_code
    return exit_code(error)


def _write(app: App, lines: list[str]) -> None:
    for line in lines:
        app.say(line)


def _parts(error: BaseException) -> tuple[str, str, list[str], str]:
    """
    Return (code, message, more lines, hint).
    """
    if isinstance(error, InvalidQuery):
        # The text is drawn as one line of its own, the caret under the place.
        shown = "".join(letter if letter.isprintable() else " " for letter in error.text)
        start = max(0, error.offset - 60)
        details = [shown[start : start + 100], " " * (error.offset - start) + "^"]
        hint = f"Did you mean {error.suggestion}?" if error.suggestion else ""
        if error.expected and not hint:
            hint = f"Expected here: {', '.join(error.expected)}."
        return error.code, f"{error.reason}.", details, hint
    if isinstance(error, InvalidInput) and len(error.faults) == 1:
        fault = error.faults[0]
        if not fault.pointer:
            return (
                error.code,
                f"{error.what}: {fault.reason}{f' (found: {fault.value})' if fault.value else ''}.",
                [],
                error.hint,
            )
        return error.code, f"{error.what}: {fault}.", [], error.hint
    if isinstance(error, InvalidInput):
        head = f"{error.what}: {len(error.faults)} faults"
        rest = [f"… and {len(error.faults) - _SHOWN} more"] if len(error.faults) > _SHOWN else []
        return error.code, head, [*(f"- {fault}" for fault in error.faults[:_SHOWN]), *rest], error.hint
    if isinstance(error, AmbiguousId) and any(error.titles):
        named = [f"{id}  {cut(title, 60)}" for id, title in zip(error.candidates, error.titles, strict=True)]
        more = ["…"] if len(named) > _CANDIDATES else []
        message = f"the prefix {error.id!r} names more than one {error.kind}:"
        return error.code, message, [*named[:_CANDIDATES], *more], error.hint
    if isinstance(error, BacklogError):
        return error.code, error.message, [], error.hint
    if isinstance(error, click.UsageError):
        context = error.ctx
        hint = f"See `{context.command_path} --help`." if context is not None else "See `backlog --help`."
        return "usage", error.format_message(), [], hint
    if isinstance(error, click.ClickException):
        return "error", error.format_message(), [], ""
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return "os_error", f"{place}{error.strerror or error}", [], ""
    kind = type(error).__name__
    return "internal", f"internal error ({kind}): {error}", [], "This should not happen. --debug shows where it did."


def _fields(error: BaseException) -> dict[str, Any]:
    if not isinstance(error, BacklogError):
        return {}
    fields: dict[str, Any] = {name: getattr(error, name) for name in _FIELDS if hasattr(error, name)}
    if isinstance(error, InvalidInput):
        fields["faults"] = [
            {"pointer": fault.pointer, "value": fault.value, "reason": fault.reason} for fault in error.faults
        ]
    return {name: value for name, value in fields.items() if value not in ("", (), None)}
