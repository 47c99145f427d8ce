"""
Heads of requests as they come in: in time, or the connection ends.

uvicorn bounds how long a connection stays idle between two requests, and nothing else: who opens thousands and sends a
byte now and then would hold all that there may be.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Timely"]

_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Timely(H11Protocol):
    """
    A connection whose heads come in time: *head_wait_s* after it was opened, each further one after its first byte.

    Who has just opened one as the service stops is still answered, if the request comes within *leaving_s*.
    """

    head_wait_s: ClassVar[float] = 10.0
    leaving_s: ClassVar[float] = 1.0
    _timer: asyncio.TimerHandle | None = None
    _is_leaving = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """
        Begin to wait for the first head.
        """
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.head_wait_s, self._give_up)

    def data_received(self, data: bytes) -> None:
        """
        Take bytes. Those of a head do not move when it has to be complete.
        """
        super().data_received(data)
        if self._is_leaving and self.cycle is not None:
            self.cycle.keep_alive = False
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.head_wait_s, self._give_up)

    def shutdown(self) -> None:
        """
        Let go of the connection behind the request under way, of which nothing may have been read yet.
        """
        if self.cycle is not None or self.transport.is_closing():
            super().shutdown()
            return
        self._is_leaving = True
        self._stop()
        self._timer = self.loop.call_later(self.leaving_s, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """
        Wait for nothing more.
        """
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:  # who sent nothing asked nothing, and may have opened it in advance
            self.transport.write(_TOO_LATE)
        self.transport.close()
