"""
A receiver of webhooks on a port of its own, that answers as it is told to.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from backlog_store.instants import Instant
from backlog_store.webhooks.messages import headers_of

__all__ = ["SECRET", "Got", "Receiver"]

SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoxMjM0NTY="


class Got(msgspec.Struct, frozen=True):
    """
    One request that came: its path, headers and body.
    """

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """
        Return the CloudEvent.
        """
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found

    def is_signed(self, at: Instant, secret: str = SECRET) -> bool:
        """
        Tell whether the signature is that of *secret* at an instant.
        """
        expected = headers_of(secret, self.headers["webhook-id"], at, self.body)
        return {name: self.headers[name] for name in expected} == expected


class Receiver:
    """
    Answers each request with what *answer* returns for it: a status, and headers.
    """

    def __init__(self) -> None:
        self.got: list[Got] = []
        self.answer: Callable[[Got], tuple[int, Mapping[str, str]]] = lambda _: (204, {})
        self.more = threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                got = Got(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                with receiver.more:
                    receiver.got.append(got)
                    status, headers = receiver.answer(got)
                    receiver.more.notify_all()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            do_GET = do_POST  # noqa: N815  (likewise)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def titles(self) -> list[str]:
        """
        Return the title of the item of each event that came, in the order of arrival.
        """
        return [got.event["data"]["item"]["title"] for got in self.got]

    def wait_for(self, is_there: Callable[[], bool]) -> None:
        """
        Wait until something came.
        """
        with self.more:
            assert self.more.wait_for(is_there, 300)

    def stop(self) -> None:
        """
        Stop answering: further connections are refused.
        """
        self.server.shutdown()
        self.server.server_close()
