"""
A served backlog with something of everything in it, and a browser that looks at it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import pytest

from backlog_store import open_backlog
from backlog_store.access import Scope
from backlog_store.admission import issue_token
from backlog_store.backlog import Backlog
from backlog_store.clock import system_clock
from backlog_store.commands import BeginSession, SetPerson, SetWebhook
from backlog_store.demo import reports
from backlog_store.instants import add_seconds
from backlog_store.intake import Finding, ReportContext, read_report
from backlog_store.model import Draft
from backlog_store.webhooks.outlets import outlets_from
from backlog_store.webhooks.subscribing import subscribe

__all__ = ["Served", "Visitor", "answers", "browser", "filled", "free_port"]

_DAY_S = 86_400
_START_S = 120.0
_PATIENCE_MS = 120_000  # a bound for a machine that is busy, never a measure
POLICY = """
closing: {misses: 1, min_age_hours: 0, close_floor: 0}
priority:
  rules:
    - name: security goes first
      when: {category: security}
      set: P1
owners:
  rules:
    - owner: oncall
    - name: the web team
      when: {service: web}
      owner: ann
due:
  rules:
    - name: urgent
      when: {priority: [P0, P1]}
      days: 7
sla:
  targets:
    - name: urgent
      when: {priority: [P0, P1]}
      first_move_hours: 24
      close_hours: 168
"""


class _Days:
    """
    A clock that stands so many days before now.
    """

    def __init__(self) -> None:
        self.before = 0.0

    def __call__(self) -> str:
        return add_seconds(system_clock(), -self.before * _DAY_S)


def filled(url: str) -> None:
    """
    Fill the store at *url*: real findings, work of people over two months, runs of which one waits for a verdict.
    """
    clock = _Days()
    with open_backlog(url, actor="ruff", clock=clock) as machine:
        ann = machine.acting_as("ann", person=True)
        clock.before = 60
        ann.apply_policy(POLICY, over=0)
        _admitted(ann)
        _scanned(machine, clock)
        _worked(machine, ann, clock)
        _runs(machine, clock)
        clock.before = 0
        ann.save_view("urgent-and-awake", "priority:<=P1 -is:snoozed")
        for digest in ("ab" * 32, "cd" * 32):
            ann.execute(BeginSession(name="ben", digest=digest, expires_at=add_seconds(clock(), 6 * _DAY_S)))


def _admitted(ann: Backlog) -> None:
    for name, scope in (("ann", Scope(role="admin")), ("ben", Scope(role="worker", services=("web", "checkout"))),
                        ("cleo", Scope(role="reader", envs=("prod",)))):  # fmt: skip
        ann.execute(SetPerson(name=name, scope=scope, over=0))
    issue_token(ann, "ruff", Scope(role="reporter", sources=("ruff",)))
    issue_token(ann, "ci", Scope(role="worker", services=("web",)), expires_at=add_seconds(ann.clock(), 150 * _DAY_S))
    body = SetWebhook(name="chat", url="http://127.0.0.1:9/in", over=0, types=("created", "closed"), query="P0")
    subscribe(ann, body, outlets_from("127.0.0.1", "127.0.0.0/8"))


def _scanned(machine: Backlog, clock: _Days) -> None:
    with reports() as folder:
        for days, release in ((58, "gunicorn-20.1.0"), (20, "gunicorn-23.0.0")):
            clock.before = days
            for tool in ("ruff", "bandit"):
                with (folder / f"{release}.{tool}.sarif").open("rb") as stream:
                    parsed = list(read_report(stream, ReportContext(service="gunicorn"))[1])
                list(machine.acting_as(tool).report(one.draft for one in parsed if isinstance(one, Finding)))


def _worked(machine: Backlog, ann: Backlog, clock: _Days) -> None:
    clock.before = 40
    alerts = machine.acting_as("alertmanager")
    ids = [
        alerts.upsert(
            title=f"{what} of {service} {how}", service=service, dedupe_key=f"alert:{service}:{what}",
            category="security" if what == "Certificate" else "slo", priority="P2", source="alertmanager",
            fix=f"runbook:{what.lower()}", tags=("alert", service),
            description=f"**{what}** {how}.\n\nSee the `runbook` and:\n\n- the dashboard\n- the log\n",
            evidence_refs={"urls": [f"https://graphs.example/{service}"], "burn": {"1h": 14.4, "6h": 6}},
        ).id
        for service in ("web", "checkout", "search", "billing")
        for what, how in (("Certificate", "expires soon"), ("Error budget", "burns"), ("Queue", "grows"))
    ]  # fmt: skip
    for step, id in enumerate(ids):
        clock.before = 38 - 3 * step
        if step % 4 == 0:
            ann.move(id, "in_progress", message="I take it.")
        elif step % 4 == 1:
            ann.close_item(id, "fixed" if step % 8 == 1 else "false_positive", message="It was the load test.")
        elif step % 4 == 2:
            ann.edit(id, owner="ben", due_date=add_seconds(clock(), 9 * _DAY_S)[:10])
        else:
            ann.comment(id, "Who knows this one?")
    clock.before = 2
    ann.accept(
        ann.search()[0].id, approver="cleo", expires_at=add_seconds(clock(), 8 * _DAY_S), message="Until the move."
    )
    ann.snooze(ann.search()[1].id, add_seconds(clock(), 9 * _DAY_S))
    ann.link(ids[0], "blocks", ids[3])
    ann.move(ids[7], "blocked", message="Waits for the supplier.")


def _runs(machine: Backlog, clock: _Days) -> None:
    pylint = machine.acting_as("pylint")
    found = [
        Draft(title=f"Too many branches in module {n}", service="search", source="pylint", category="lint",
              dedupe_key=f"pylint:{n}", priority="P3", fix=f"rule:R0912:{n % 3}")
        for n in range(12)
    ]  # fmt: skip
    for days, drafts in ((12, found), (10, found), (1, found[:8])):
        clock.before = days
        with pylint.begin_run("pylint", services=["search"]) as run:
            list(run.report(drafts))
            run.complete(expected_count=len(drafts))
    clock.before = 1
    run = pylint.begin_run("pylint", services=["web"], name="nightly-1")
    run.abort("the checkout failed")
    clock.before = 11
    with machine.acting_as("semgrep").begin_run("semgrep", services=["web"]) as silent:
        silent.complete(expected_count=0)


class Served:
    """
    ``backlog serve`` on a store, as a process of its own, with *more* arguments and variables of the environment.
    """

    def __init__(
        self, store: str, folder: Path, *more: str, port: int = 0, environment: Mapping[str, str] | None = None
    ) -> None:
        port = port or free_port()
        self.store = store
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / f"serve-{port}.log"
        command = str(Path(sys.executable).with_name("backlog"))
        program = [command, "--actor", "ann", "serve", "--port", str(port), *more]
        # By the environment: a command line with a password in it is refused.
        environment = {**os.environ, "BACKLOG_URL": store, "BACKLOG_WEBHOOK_HOSTS": "127.0.0.1",
                       "BACKLOG_WEBHOOK_NETWORKS": "127.0.0.0/8", **(environment or {})}  # fmt: skip
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(program, cwd=folder, env=environment, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)  # fmt: skip
        end = time.monotonic() + _START_S
        while not answers(port):
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"it ended with {self.process.wait(0.05)}: {self.log.read_text()}")
            assert time.monotonic() < end, f"no answer in {_START_S} s: {self.log.read_text()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait(20)


def free_port() -> int:
    """
    Return a port of this machine that nothing listens on now.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """
    Tell whether something listens there.
    """
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def browser() -> Iterator[Any]:
    """
    Give the system's Chromium, without a window.
    """
    from playwright.sync_api import sync_playwright

    place = shutil.which("chromium")
    assert place, "there is no chromium: scripts/system-tools installs it"
    with sync_playwright() as playwright:
        # Root has no sandbox; what is opened here is this machine's own service alone.
        chromium = playwright.chromium.launch(executable_path=place, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield chromium
        chromium.close()


class Visitor:
    """
    One who looks at a service with a browser of their own; what a page complains of, or asks elsewhere, is kept.
    """

    def __init__(
        self, chromium: Any, url: str, *, scheme: str = "light", script: bool = True, width: int = 1280
    ) -> None:
        self.url = url
        self.context = chromium.new_context(
            base_url=url, color_scheme=scheme, java_script_enabled=script, viewport={"width": width, "height": 900},
            reduced_motion="reduce",
        )  # fmt: skip
        self.context.set_default_timeout(_PATIENCE_MS)
        self.complaints: list[str] = []
        self.ran: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", self._asked)
        self.context.on("request", self._requested)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def _asked(self, dialog: Any) -> None:
        self.ran.append(dialog.message)
        dialog.dismiss()

    def _requested(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.url:
            self.complaints.append(f"asked elsewhere: {request.url}")

    def go(self, path: str) -> Any:
        """
        Open a page; it must be there.
        """
        response = self.page.goto(path, wait_until="load")
        assert response is not None
        assert response.status == 200, f"{path}: {response.status}"
        return self.page

    def violations(self) -> list[str]:
        """
        Return what axe finds wrong with the page.
        """
        self.page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
        found: Sequence[dict[str, Any]] = self.page.evaluate(
            "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"
        )
        return [f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}" for one in found]

    def close(self) -> None:
        """
        Go away. What pages complained of fails the test.
        """
        self.context.close()
        assert self.complaints == [], self.complaints
        assert self.ran == [], self.ran
