"""
The service under mixed load, with listeners of its stream: ``python -m bench.load --rate 500 --seconds 60``.

It starts `backlog serve` on a store of its own and asks it for so many requests a second, at the times that they are
due and not when the one before is done. It fails where a request failed, a listener missed a change or saw one twice.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import quantiles
from time import perf_counter

import psutil

from backlog_store import open_backlog
from backlog_store.query import EventQuery
from bench.harness import table

__all__ = ["main"]

_ITEMS = 2_000
_CONNECTIONS = 32  # of the clients together
#: What is asked, and how often of a hundred.
_MIX = (("show", 45), ("list", 15), ("page", 10), ("count", 10), ("log", 5), ("report", 15))


class Client:
    """
    One connection that is kept, and asked one request after the other.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """
        Return the status and the body of an answer.
        """
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
        reader, writer = self._streams
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        if headers.get("transfer-encoding") == "chunked":
            got = b""
            while size := int(await reader.readline(), 16):
                got += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            got = await reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split()[1]), got


class Load:
    """
    One run: what was asked and answered, and what the listeners saw.
    """

    def __init__(self, port: int, ids: list[str]) -> None:
        self.port = port
        self.ids = ids
        self.statuses: Counter[str] = Counter()
        self.took: dict[str, list[float]] = {name: [] for name, _ in _MIX}
        self.late: list[float] = []
        self.seen: list[list[str]] = []
        self.wall_s = 0.0
        self._draw = random.Random(1)
        self._number = 0

    def request(self) -> tuple[str, str, str, bytes]:
        """
        Return what comes next: its kind, method, path and body.
        """
        [kind] = self._draw.choices([name for name, _ in _MIX], [often for _, often in _MIX])
        self._number += 1
        id = self._draw.choice(self.ids)
        if kind == "report":
            body = json.dumps({"title": f"Problem {self._number}", "service": f"s{self._number % 20}"}).encode()
            return kind, "PUT", f"/api/v1/items/by-key/prod/k{self._draw.randrange(2 * _ITEMS)}", body
        path = {
            "show": f"/api/v1/items/{id}", "list": "/api/v1/items?limit=20", "page": f"/items/{id}",
            "count": "/api/v1/counts?by=status", "log": "/api/v1/events?limit=20&newest_first=true",
        }[kind]  # fmt: skip
        return kind, "GET", path, b""

    async def work(self, due: asyncio.Queue[float]) -> None:
        """
        Ask on one connection whatever is due, until there is nothing more.
        """
        client = Client(self.port)
        while (at := await due.get()) >= 0:
            kind, method, path, body = self.request()
            began = perf_counter()
            self.late.append(began - at)
            try:
                status, _ = await client.ask(method, path, body)
                self.statuses[str(status)] += 1
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.statuses[type(error).__name__] += 1
                client = Client(self.port)
            self.took[kind].append(perf_counter() - began)

    async def listen(self, ready: asyncio.Semaphore) -> None:
        """
        Follow the stream from its beginning, and note each position.
        """
        seen: list[str] = []
        self.seen.append(seen)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET /api/v1/stream HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b": connected"):
                ready.release()
            elif line.startswith(b"id: "):
                seen.append(line[4:-1].decode())


async def _run(load: Load, rate: int, seconds: int, listeners: int, process: psutil.Process) -> list[int]:
    ready = asyncio.Semaphore(0)
    following = [asyncio.create_task(load.listen(ready)) for _ in range(listeners)]
    for _ in following:
        await ready.acquire()
    due: asyncio.Queue[float] = asyncio.Queue()
    working = [asyncio.create_task(load.work(due)) for _ in range(_CONNECTIONS)]
    memory: list[int] = []
    began = perf_counter()
    for number in range(rate * seconds):
        at = began + number / rate
        if (wait := at - perf_counter()) > 0:
            await asyncio.sleep(wait)
        due.put_nowait(at)
        if number % rate == 0:
            memory.append(_resident(process))
    for _ in working:
        due.put_nowait(-1)
    await asyncio.gather(*working)
    load.wall_s = perf_counter() - began
    count = -1
    while (now := min((len(seen) for seen in load.seen), default=0)) != count:
        count = now
        await asyncio.sleep(2)  # until nothing more comes
    for task in following:
        task.cancel()
    memory.append(_resident(process))
    return memory


def _resident(process: psutil.Process) -> int:
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))


def _start(url: str, port: int, workers: int) -> subprocess.Popen[bytes]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("BACKLOG_")}
    process = subprocess.Popen(
        [Path(sys.executable).with_name("backlog"), "serve", "--port", str(port), "--workers", str(workers)],
        env={**environ, "BACKLOG_URL": url, "BACKLOG_ACTOR": "load"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(600):
        try:
            if asyncio.run(Client(port).ask("GET", "/readyz"))[0] == 200:
                return process
        except OSError:
            pass
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    process.kill()
    raise SystemExit("the service did not start")


def _told(load: Load, memory: list[int], written: list[str]) -> list[str]:
    rows = [
        [kind, f"{len(took):,}", *(f"{1_000 * one:.1f} ms" for one in _points(took))]
        for kind, took in load.took.items() if took
    ]  # fmt: skip
    asked = sum(load.statuses.values())
    quarter = max(1, len(memory) // 4)
    early, late = max(memory[quarter : 2 * quarter] or memory), max(memory[-quarter:])
    return [
        table(["request", "count", "half", "19 of 20", "99 of 100"], rows),
        "",
        f"{asked:,} requests, {asked / load.wall_s:.0f} a second; answered: {dict(load.statuses)}",
        f"begun {1_000 * _points(load.late)[1]:.0f} ms after they were due, at most, for 19 of 20",
        f"{len(written):,} changes to each of {len(load.seen)} listeners, in order, none missing, none twice",
        f"memory of all processes: {early >> 20} MiB in the second quarter, {late >> 20} MiB in the last",
    ]


def _points(values: list[float]) -> tuple[float, float, float]:
    cut = quantiles(values, n=100) if len(values) > 1 else [*values] * 99
    return cut[49], cut[94], cut[98]


def main() -> None:
    """
    Measure, print, and fail where anything was lost.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="requests a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--listeners", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--url", default="", help="an empty store that may be filled; default: an SQLite of its own")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="backlog-load-") as folder:
        url = given.url or f"sqlite://{folder}/b.db"
        with open_backlog(url) as backlog:
            drafts = [{"title": f"Problem {number}", "dedupe_key": f"k{number}", "service": f"s{number % 20}"}
                      for number in range(_ITEMS)]  # fmt: skip
            ids = [outcome.id for _, outcome in backlog.report(drafts)]
            before = backlog.events(EventQuery(newest_first=True, limit=1))[0].position
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = _start(url, port, given.workers)
        load = Load(port, ids)
        try:
            memory = asyncio.run(_run(load, given.rate, given.seconds, given.listeners, psutil.Process(process.pid)))
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()  # nothing, where it stopped as it should
        with open_backlog(url) as backlog:
            written = [event.position for event in backlog.events(EventQuery(after=before, limit=None))]
    wrong = sum(seen != written for seen in load.seen)
    failed = {status: count for status, count in load.statuses.items() if status not in ("200", "201")}
    print("\n".join(_told(load, memory, written)))
    if wrong or failed:
        raise SystemExit(f"{wrong} listeners did not see what was written; requests that failed: {failed}")


if __name__ == "__main__":
    main()
