"""
Connections that go on: heads of requests come in time, and answers are taken in time, or the connection ends.

uvicorn bounds how long a connection stays idle between two requests, and nothing else: who opens thousands and sends a
byte now and then would hold all that there may be; and whoever asks for an export and reads nothing of it, the file.
"""

from __future__ import annotations

import asyncio
import re
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Timely"]

_REFUSED = "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_END = re.compile(rb"\n\r?\n")  # as h11 finds it


class Timely(H11Protocol):
    """
    A connection whose heads come in time: *head_wait_s* after it was opened, each further one after its first byte.

    A head has *head_max* bytes at most, however many of them come at once: h11 looks only at what is left incomplete.

    Of an answer something is taken every *unread_s*, or the connection is cut.

    Who has just opened one as the service stops is still answered, if the request comes within *leaving_s*.
    """

    head_wait_s: ClassVar[float] = 10.0
    head_max: ClassVar[int] = 64 * 1024
    leaving_s: ClassVar[float] = 1.0
    unread_s: ClassVar[float] = 60.0
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
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
        if self.conn.their_state is h11.IDLE:
            head = self.conn.trailing_data[0] + data
            if len(head) > self.head_max and not _END.search(head, 0, self.head_max):
                is_line = b"\n" not in head[: self.head_max]
                self._refuse("414 URI Too Long" if is_line else "431 Request Header Fields Too Large")
                return
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

    def pause_writing(self) -> None:
        """
        Begin to wait for the other end to take what was sent.
        """
        super().pause_writing()
        self._wait_for(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """
        Wait no more: it took most of it.
        """
        self._taken()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """
        Wait for nothing more.
        """
        self._stop()
        self._taken()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait_for(self, left: int) -> None:
        self._unread = self.loop.call_later(self.unread_s, self._look, left)

    def _look(self, left: int) -> None:
        # Only where little is left is writing resumed: a large answer may long be on its way to who reads slowly.
        now_left = self.transport.get_write_buffer_size()
        if now_left < left:
            self._wait_for(now_left)
        else:
            self.transport.abort()

    def _taken(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _give_up(self) -> None:
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:  # who sent nothing asked nothing, and may have opened it in advance
            self._refuse("408 Request Timeout")
        else:
            self.transport.close()

    def _refuse(self, status: str) -> None:
        self._stop()
        self.transport.write(_REFUSED.format(status).encode())
        self.transport.close()
