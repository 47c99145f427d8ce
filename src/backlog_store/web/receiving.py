"""
Bodies as they come in: bounded, in time, in memory while they are small.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, cast

import anyio
from litestar import Request
from litestar.exceptions import InternalServerException

from backlog_store.web.problems import HttpProblem
from backlog_store.web.site import Limits

__all__ = ["received"]


async def received(request: Request[Any, Any, Any], limits: Limits, *, spooled: bool) -> bytes | BinaryIO:
    """
    Return the body: as bytes, or, *spooled*, as a file that is in memory while it is small. The caller closes it.

    How large it may be is the route's bound (413). Raises `HttpProblem`: 415 for a compressed one, 408 for one that
    comes too slowly, 400 where the connection ends before it.
    """
    if request.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise HttpProblem(415, "compressed bodies are not read", hint="Send it as it is.")
    if not spooled:
        return b"".join([chunk async for chunk in _chunks(request, limits)])
    # A file in all but its type.
    file = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=limits.in_memory))  # noqa: SIM115
    try:
        async for chunk in _chunks(request, limits):
            file.write(chunk)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def _chunks(request: Request[Any, Any, Any], limits: Limits) -> AsyncIterator[bytes]:
    began, size = anyio.current_time(), 0
    chunks = request.stream()
    while True:
        # What has come earns further time, so a large body may take long, and a trickle may not.
        until = began + limits.body_wait_s + size / limits.body_rate
        try:
            with anyio.fail_after(max(0.0, until - anyio.current_time())):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            told = f"{size:,} bytes came in {until - began:.0f} s, and the rest of the body did not"
            raise HttpProblem(408, told, headers={"Connection": "close"}) from error
        except InternalServerException as error:  # which would count as a failure of ours, and call somebody at night
            raise HttpProblem(400, f"the connection ended behind {size:,} bytes of the body", code="cut_off") from error
        if chunk is None:
            return
        size += len(chunk)
        yield chunk
