"""
What the service tells Prometheus: requests and streams as they are counted, the store as it is when asked.

Several processes serve one port (`backlog serve --workers`), and whoever asks meets one of them: they count in files of
one folder, `prometheus_client`'s own way, which `FOLDER` names, and whichever is asked adds up. With one process the
counts are in memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

from backlog_store import __version__
from backlog_store.backlog import Backlog
from backlog_store.errors import BackendError
from backlog_store.model import STATUSES
from backlog_store.query import ANY
from backlog_store.rules.hooking import standings

__all__ = ["FOLDER", "MEDIA_TYPE", "Metrics"]

#: The variable that names the folder which the processes of one service count in; prometheus_client reads it, too.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
MEDIA_TYPE = "text/plain; version=0.0.4"  # charset=utf-8 is put behind it by the framework
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WAITING_MAX = 1_000
_OF_PROCESS = re.compile(r"_(\d+)\.db\Z")

disable_created_metrics()  # type: ignore[no-untyped-call]  # when a count began is a series more for each, and nobody asks for it


class Metrics:
    """
    The counts of this process. *route* is always the path of a route, never what somebody asked for.
    """

    def __init__(self) -> None:
        own: Any = {"registry": CollectorRegistry()}
        self._own = own["registry"]
        self.requests = Counter("backlog_http_requests", "Requests that were answered.",
                                ["method", "route", "status"], **own)  # fmt: skip
        self.seconds = Histogram("backlog_http_request_duration_seconds",
                                 "From the request to the end of its answer; of a stream, to its beginning.",
                                 ["method", "route"], buckets=_SECONDS, **own)  # fmt: skip
        self.running = Gauge("backlog_http_requests_in_progress", "Requests that are being answered now, streams not.",
                             multiprocess_mode="livesum", **own)  # fmt: skip
        self.listeners = Gauge("backlog_stream_listeners", "Listeners of the stream of changes.",
                               multiprocess_mode="livesum", **own)  # fmt: skip
        self.deliveries = Counter("backlog_webhook_deliveries", "Tries to deliver an event, by what came of them.",
                                  ["outcome"], **own)  # fmt: skip
        if not os.environ.get(FOLDER):
            ProcessCollector(registry=self._own)

    def text(self, backlog: Backlog, asked: Backlog | None = None) -> bytes:
        """
        Return all of it, of the service's *backlog*; items are counted as far as *asked*, that of who asks, reaches.
        """
        told = CollectorRegistry()
        told.register(_OfStore(backlog, asked or backlog))
        folder = os.environ.get(FOLDER)
        if not folder:
            return generate_latest(self._own) + generate_latest(told)
        forget_the_dead(Path(folder))
        MultiProcessCollector(told, folder)  # type: ignore[no-untyped-call]
        return generate_latest(told)


def forget_the_dead(folder: Path) -> None:
    """
    Take out what processes counted as going on that are no more: killed, they could not say that it ended.
    """
    for path in folder.glob("gauge_live*.db"):
        found = _OF_PROCESS.search(path.name)
        if found is not None and not _is_alive(int(found[1])):
            mark_process_dead(int(found[1]), str(folder))  # type: ignore[no-untyped-call]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class _OfStore:
    """
    What is read from the store when Prometheus asks: a store that is away is told as such, with no number made up.
    """

    def __init__(self, backlog: Backlog, asked: Backlog) -> None:
        self._backlog = backlog
        self._asked = asked

    def collect(self) -> Iterator[Metric]:
        """
        Yield every number.
        """
        about = GaugeMetricFamily("backlog_build_info", "The version that runs.", labels=["version"])
        about.add_metric([__version__], 1)
        yield about
        is_up = True
        try:
            counts = self._asked.tally(ANY, ["status"])
            items = GaugeMetricFamily("backlog_items", "Items, by status.", labels=["status"])
            for status in STATUSES:
                items.add_metric([status], counts.get((status,), 0))
            yield items
            if self._asked.scope is None or self._asked.scope.is_whole:
                yield from self._webhooks()
        except BackendError:
            is_up = False
        yield GaugeMetricFamily("backlog_store_up", "Whether the store could be read just now.", value=float(is_up))
        yield from self._spool()

    def _webhooks(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("backlog_webhook_waiting", f"Events that are still to be looked at; counted up to "
                                    f"{_WAITING_MAX}.", labels=["webhook"])  # fmt: skip
        kept = GaugeMetricFamily("backlog_webhook_kept_aside", "Events that a receiver refused, and dead letters.",
                                 labels=["webhook"])  # fmt: skip
        found = self._backlog.executor.read(lambda reader: list(standings(reader, _WAITING_MAX)))
        for _, webhook, progress, count in found:
            waiting.add_metric([webhook.name], count)
            kept.add_metric([webhook.name], progress.kept)
        yield waiting
        yield kept

    def _spool(self) -> Iterator[Metric]:
        standing = getattr(self._backlog.executor, "standing", None)
        if standing is None:
            return
        now = standing()
        state = GaugeMetricFamily("backlog_spool_state", "Where commands go, under auto: 1 for the state that holds.",
                                  labels=["state"])  # fmt: skip
        for name in ("up", "degraded", "replaying"):
            state.add_metric([name], float(now.state == name))
        yield state
        yield GaugeMetricFamily("backlog_spool_waiting", "Accepted commands that wait for the database.",
                                value=now.waiting)  # fmt: skip
        yield GaugeMetricFamily("backlog_spool_parked", "Accepted commands that were refused later, kept aside.",
                                value=now.account.parked)  # fmt: skip
        yield CounterMetricFamily("backlog_spool_accepted", "Commands that were ever accepted into the spool.",
                                  value=now.account.accepted)  # fmt: skip
