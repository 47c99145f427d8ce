"""
A TCP proxy that a test can make misbehave between a client and a real server.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class Proxy:
    """
    Forward every connection to *port* of this machine.

    *judge* sees each piece of bytes that a client sends and says what becomes of the connection from there on: "pass",
    "deaf" (the server never hears it), "mute" (the client never hears an answer) or "cut" (the server hears it, and the
    client is cut off).
    """

    def __init__(self, port: int, judge: Callable[[bytes], str] = lambda _: "pass") -> None:
        self.judge = judge
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """
        Cut every connection, and take no more.
        """
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                muted = threading.Event()
                threading.Thread(target=self._requests, args=(client, server, muted), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server, muted), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        deaf = False
        with suppress(OSError):
            while piece := client.recv(65_536):
                verdict = self.judge(piece)
                deaf = deaf or verdict == "deaf"
                if verdict in {"mute", "cut"}:
                    muted.set()
                if not deaf:
                    server.sendall(piece)
                if verdict == "cut":
                    client.shutdown(socket.SHUT_RDWR)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, client: socket.socket, server: socket.socket, muted: threading.Event) -> None:
        with suppress(OSError):
            while piece := server.recv(65_536):
                if not muted.is_set():
                    client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
