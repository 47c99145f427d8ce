"""
One kept HTTP connection a thread, with a deadline; and problems turned back into the errors that they were.
"""

from __future__ import annotations

import http.client
import inspect
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from backlog_store import errors as e
from backlog_store.codec import decode_json

__all__ = ["Connection", "error_of"]

NAME = "remote"
_LISTS = frozenset({"allowed", "candidates", "departures", "titles", "faults"})


class Connection:
    """
    Exchanges with one server. Safe for several threads: each has a connection of its own.
    """

    def __init__(self, url: str, *, token: str = "", timeout_s: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise e.ConfigError(
                "url", url, "no address of a server", hint="Write https://host or http://127.0.0.1:8420."
            )
        if parts.username or parts.password:
            raise e.ConfigError("url", "", "a URL shows what stands in it", hint="Give the token in BACKLOG_TOKEN.")
        self.url = url.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._token = token.strip()  # what a file holds ends in a line
        if not (self._token.isascii() and self._token.isprintable()):
            raise e.ConfigError("token", "", "it holds what no token has", hint="Give it as it was shown: blt_…")
        self._timeout_s = timeout_s
        self.copy_as_of = ""  # where the last answer came from a copy, for the database of the server is away
        self._own = threading.local()

    def send(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        writes: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """
        Return the body of the answer. Raises the error that a problem tells of.

        Without an answer: `BackendUnavailable` if nothing can have happened, else `OutcomeUnknown` (*writes*).
        """
        try:
            status, media, data = self._exchange(method, path, body, headers or {}, writes=writes)
        except ConnectionRefusedError as error:
            raise self._away(error) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if writes and getattr(self._own, "is_sent", True):
                hint = "Ask again with the same request id."
                raise e.OutcomeUnknown(NAME, f"{method} {path}", f"{self.url} did not answer: {error!r}",
                                       hint=hint) from error  # fmt: skip
            raise self._away(error) from error
        if status < 400:
            return data
        raise error_of(status, media, data, self.url)

    def fetch(self, path: str, *, timeout_s: float) -> Iterator[bytes]:
        """
        Yield the body of the answer as it comes. Raises the error that a problem tells of.

        Raises `BackendUnavailable` where nothing comes for *timeout_s*, or the answer is cut off.
        """
        connection = self._new(timeout_s)
        try:
            connection.request("GET", self._base + path, headers=self._headers())
            response = connection.getresponse()
            if response.status >= 400:
                raise error_of(response.status, response.headers.get("Content-Type", ""), response.read(), self.url)
            while block := response.read(1 << 20):
                yield block
        except (OSError, http.client.HTTPException) as error:
            raise self._away(error) from error
        finally:
            connection.close()

    def _headers(self) -> dict[str, str]:
        given = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            given["Authorization"] = f"Bearer {self._token}"
        return given

    def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], *, writes: bool
    ) -> tuple[int, str, bytes]:
        given = {**self._headers(), **headers}
        for is_last in self._tries():
            connection = self._connection()
            self._own.is_sent = False
            try:
                connection.request(method, self._base + path, body, given)
                self._own.is_sent = True
                response = connection.getresponse()
                self.copy_as_of = response.headers.get("Backlog-Copy-As-Of", "")
                return response.status, response.headers.get("Content-Type", ""), response.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # A kept connection may have been closed meanwhile; what only reads is asked once more on a new one.
                self.close()
                if is_last or (writes and self._own.is_sent):
                    raise
        raise AssertionError("unreachable")

    def _tries(self) -> Iterator[bool]:
        if getattr(self._own, "connection", None) is not None:
            yield False
        yield True

    def _connection(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is None:
            connection = self._own.connection = self._new(self._timeout_s)
        return connection

    def _new(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def _away(self, error: BaseException) -> e.BackendUnavailable:
        return e.BackendUnavailable(NAME, "asking", f"{self.url} cannot be reached: {error}",
                                    hint="Is `backlog serve` running there?")  # fmt: skip

    def close(self) -> None:
        """
        Let go of this thread's connection.
        """
        connection = getattr(self._own, "connection", None)
        self._own.connection = None
        if connection is not None:
            connection.close()


def _classes(base: type[e.BacklogError]) -> Iterator[type[e.BacklogError]]:
    yield base
    for derived in base.__subclasses__():
        yield from _classes(derived)


def error_of(status: int, media: str, data: bytes, url: str) -> e.BacklogError:
    """
    Return the error that a response tells of: of its own class where the problem has a known code.
    """
    try:
        told = decode_json(data) if "json" in media else None
    except ValueError:
        told = None
    if not isinstance(told, dict) or "code" not in told:
        return e.BackendUnavailable(NAME, "asking", f"{url} answered {status} and no word of a backlog",
                                    hint="Is this the address of `backlog serve`?")  # fmt: skip
    detail, hint = str(told.get("detail", "")), str(told.get("hint", ""))
    if status == 401:
        return e.NotAllowed(
            "asking the server", detail, hint="Give a token in BACKLOG_TOKEN; `backlog token issue` makes one."
        )
    cls = next((cls for cls in _classes(e.BacklogError) if cls.code == told["code"]), None)
    if cls is None:
        return e.BackendError(NAME, "asking", f"{url} answered {status}: {detail}", hint=hint)
    return _rebuilt(cls, told, detail, hint)


def _rebuilt(cls: type[e.BacklogError], told: Mapping[str, Any], detail: str, hint: str) -> e.BacklogError:
    error = cls.__new__(cls)
    error.args = (detail,)
    left_out = ("type", "title", "status", "detail", "code", "errors")
    members: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value
                               for name, value in told.items() if name not in left_out}  # fmt: skip
    # A problem leaves out what is empty.
    for name in inspect.signature(cls).parameters:
        members.setdefault(name, "")
    for name in _LISTS.intersection(members):
        members[name] = tuple(members[name])
    faults = [
        e.Fault(str(one.get("pointer", "")), str(one.get("value", "")), str(one.get("detail", "")))
        for one in told.get("errors", ())
    ]
    members.pop("message", None)
    error.__dict__.update({**members, "message": detail, "hint": hint})
    if faults:
        error.__dict__["faults"] = tuple(faults)
        if "reason" in members and not members["reason"]:
            error.__dict__["reason"] = faults[0].reason
    return error
