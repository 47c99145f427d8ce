"""
The network of one node, which can be cut.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

__all__ = ["Wire"]

HOST = "127.0.0.1"


class Wire:
    """
    Forward every connection from a port of its own to *target* of this machine, until it is cut.

    A cut wire is as silent as a pulled cable: bytes are neither refused nor delivered, connections are accepted and
    hear nothing. Mended, it drops what was connected before and takes new connections.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._whole = threading.Event()
        self._whole.set()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name=f"wire-{self.port}").start()

    def cut(self) -> None:
        """
        Deliver nothing from now on.
        """
        self._whole.clear()

    def mend(self) -> None:
        """
        Drop all connections, and deliver again.
        """
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for each in sockets:
            _drop(each)
        self._whole.set()

    def close(self) -> None:
        """
        Close everything.
        """
        _drop(self._listener)
        self.mend()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._keep(client)
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self._whole.wait()
        try:
            server = socket.create_connection((HOST, self._target))
        except OSError:
            _drop(client)  # nobody listens there: refused, a little late
            return
        self._keep(server)
        threading.Thread(target=self._forward, args=(server, client), daemon=True).start()
        self._forward(client, server)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(65_536):
                self._whole.wait()
                target.sendall(piece)
        except OSError:
            pass
        finally:
            # One side is gone, and the other hears of it only over a whole wire.
            self._whole.wait()
            for each in (source, target):
                with self._lock:
                    self._sockets.discard(each)
                _drop(each)

    def _keep(self, each: socket.socket) -> None:
        with self._lock:
            self._sockets.add(each)


def _drop(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
