"""
The log of the service: a line an entry, as text or as JSON, on stderr; no line tells a token or a password.

What is logged while a request is answered carries the request's id, wherever it is logged.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from backlog_store.codec import encode
from backlog_store.redacting import redacted

__all__ = ["REQUEST_ID", "Form", "configure", "log_request"]

Form = Literal["text", "json"]
#: The id of the request that is being answered; empty outside of one.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

_requests = logging.getLogger("backlog_store.web.requests")
_LOGGERS = ("backlog_store", "uvicorn")


def configure(form: Form, *, requests: bool) -> None:
    """
    Write the logs of the service to stderr in this form; *requests*: a line for each request as well.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if requests else logging.WARNING)
    _requests.disabled = not requests


def log_request(*, method: str, path: str, route: str, status: int, seconds: float, actor: str, client: str) -> None:
    """
    Log a request that was answered. *path* has no query in it: people search for anything.
    """
    if _requests.isEnabledFor(logging.INFO):
        told = {"method": method, "path": path, "route": route, "status": status,
                "duration_ms": round(seconds * 1_000, 1), "actor": actor, "client": client}  # fmt: skip
        _requests.info("%s %s %d", method, path, status, extra={"told": told})


def _plain(record: logging.LogRecord) -> dict[str, Any]:
    told: dict[str, Any] = getattr(record, "told", {})
    plain = {name: redacted(value) if isinstance(value, str) else value for name, value in told.items()}
    if given := REQUEST_ID.get():
        plain["request_id"] = given
    return plain


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """
        Return the entry as one line of JSON: ts, level, logger, message, and what is known of the request.
        """
        at = datetime.fromtimestamp(record.created, UTC)
        line = {"ts": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "level": record.levelname.lower(), "logger": record.name,
                "message": redacted(record.getMessage()), **_plain(record)}  # fmt: skip
        if record.exc_info:
            line["error"] = redacted(self.formatException(record.exc_info))
        return encode(line).decode()


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """
        Return the entry as a line for people.
        """
        at = datetime.fromtimestamp(record.created, UTC)
        told = "".join(f" {name}={value}" for name, value in _plain(record).items()
                       if name in ("duration_ms", "actor", "request_id") and value != "")  # fmt: skip
        # Somebody may ask for a path with an end of line in it: that begins no line of ours.
        said = "".join(letter if letter.isprintable() else "\ufffd" for letter in redacted(record.getMessage()))
        line = f"{at:%Y-%m-%d %H:%M:%S} {record.levelname.lower()} {said}{told}"
        return f"{line}\n{redacted(self.formatException(record.exc_info))}" if record.exc_info else line
