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

#: PostgreSQL's ReadyForQuery, but for its last byte, and the error of a server that was told to stop.
#: https://www.postgresql.org/docs/current/protocol-message-formats.html
READY = b"Z\0\0\0\5"
_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
STOPPING = b"E" + (4 + len(_FIELDS)).to_bytes(4) + _FIELDS


class Proxy:
    """
    Forward every connection to *port* of this machine.

    *judge* sees each piece of bytes that a client sends and says what becomes of the connection from there on: "pass",
    "deaf" (the server never hears it), "mute" (the client never hears an answer), "cut" (the server hears it, and the
    client is cut off), "half" (the client hears half of the next piece of an answer, and is cut off), "stops" (it hears
    all that was answered, and then that the server was told to stop) or "slow" (it hears one byte at a time). While
    `refuses` is set, nobody is let in, nor while the server cannot be reached.
    """

    def __init__(self, port: int, judge: Callable[[bytes], str] = lambda _: "pass") -> None:
        self.judge = judge
        self.refuses = False
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

    def cut_all(self) -> None:
        """
        Cut every connection that there is now.
        """
        for each in self._sockets[1:]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # it was closed
            try:
                if self.refuses:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            self._sockets += [client, server]
            fate = _Fate()
            threading.Thread(target=self._requests, args=(client, server, fate), daemon=True).start()
            threading.Thread(target=self._answers, args=(client, server, fate), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket, fate: _Fate) -> None:
        deaf = False
        with suppress(OSError):
            while piece := client.recv(65_536):
                verdict = self.judge(piece)
                deaf = deaf or verdict == "deaf"
                fate.muted = fate.muted or verdict in {"mute", "cut"}
                fate.halves = fate.halves or verdict == "half"
                fate.stops = fate.stops or verdict == "stops"
                fate.slow = verdict == "slow"
                if not deaf:
                    server.sendall(piece)
                if verdict == "cut":
                    client.shutdown(socket.SHUT_RDWR)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, client: socket.socket, server: socket.socket, fate: _Fate) -> None:
        with suppress(OSError):
            while piece := server.recv(65_536):
                if fate.muted:
                    continue
                if fate.halves:
                    client.sendall(piece[: len(piece) // 2])
                    client.shutdown(socket.SHUT_RDWR)
                    fate.muted = True
                    continue
                if fate.stops and piece[-6:-1] == READY:
                    client.sendall(piece[:-6] + STOPPING)
                    client.shutdown(socket.SHUT_RDWR)
                    fate.muted = True
                    continue
                size = 1 if fate.slow else len(piece)
                for start in range(0, len(piece), size):
                    client.sendall(piece[start : start + size])
            client.shutdown(socket.SHUT_WR)


class _Fate:
    """
    What becomes of the answers on one connection.
    """

    muted = halves = stops = slow = False
