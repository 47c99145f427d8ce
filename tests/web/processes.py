"""
`backlog serve` as processes of their own, and clients of them.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["Follower", "Server", "free_port"]

_BACKLOG = Path(sys.executable).with_name("backlog")
_WAIT_S = 120.0
_TICK = threading.Event()  # never set: what waits for it, waits for another process to get on


def free_port() -> int:
    """
    Return a port that nobody uses.
    """
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


class Server:
    """
    A service on the store at *url*, ready when made.
    """

    def __init__(
        self, url: str, folder: Path, *options: str, port: int = 0, env: Mapping[str, str] | None = None
    ) -> None:
        self.port = port or free_port()
        self.log = folder / f"{self.port}.log"
        home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        environ = {name: value for name, value in os.environ.items() if not name.startswith("BACKLOG_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [_BACKLOG, "serve", "--port", str(self.port), *options], cwd=folder, stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**environ, **home, "BACKLOG_URL": url, "BACKLOG_ACTOR": "ann", **(env or {})},
            )  # fmt: skip
        self.until_ready()

    def until_ready(self) -> None:
        """
        Wait until it may be sent requests.
        """
        for _ in range(int(_WAIT_S / 0.05)):
            if self.readiness() == 200:
                return
            assert self.process.poll() is None, self.log.read_text()
            _TICK.wait(0.05)
        raise AssertionError(self.log.read_text())

    def readiness(self) -> int:
        """
        Return the status of /readyz; 0 where nobody answers.
        """
        try:
            return self.ask("GET", "/readyz")[0]
        except (OSError, http.client.HTTPException):
            return 0

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """
        Ask on a connection of its own.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def report(self, key: str) -> bool:
        """
        Report a problem; tell whether that was acknowledged. False: nobody knows.
        """
        try:
            status, said = self.ask("PUT", f"/api/v1/items/by-key/prod/{key}", {"title": key})
        except (OSError, http.client.HTTPException):
            return False
        assert status in (200, 201), said
        return True

    def tell(self, sig: int) -> None:
        """
        Send it a signal, without waiting.
        """
        os.kill(self.process.pid, sig)

    def stop(self) -> int:
        """
        Stop in order, and return the status.
        """
        self.tell(signal.SIGTERM)
        return self.process.wait(_WAIT_S)

    def kill(self) -> None:
        """
        Kill it with all its workers: nothing of it runs on.
        """
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(_WAIT_S)


class Follower(threading.Thread):
    """
    A listener of the stream at *port* that comes back with its last position, until it has seen *until* positions.
    """

    def __init__(self, port: int, until: str = "") -> None:
        super().__init__(daemon=True)
        self.port = port
        self.seen: list[str] = []
        self.retries: list[str] = []
        self.connected = threading.Event()
        self.is_over = threading.Event()
        self.until = until

    def run(self) -> None:
        """
        Follow.
        """
        while not self.is_over.is_set():
            try:
                self._listen()
            except (OSError, http.client.HTTPException):
                _TICK.wait(0.05)

    def _listen(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/api/v1/stream", headers={"Last-Event-ID": self.seen[-1] if self.seen else ""})
            response, position = connection.getresponse(), ""
            while line := response.readline():
                if line.startswith(b": connected"):
                    self.connected.set()
                elif line.startswith(b"id: "):
                    position = line[4:-1].decode()
                elif line.startswith(b"data: "):
                    self.seen.append(position)  # an event without its data was cut
                    if position == self.until:
                        self.is_over.set()
                        return
                elif line.startswith(b"retry: "):
                    self.retries.append(line[7:-1].decode())
        finally:
            connection.close()
