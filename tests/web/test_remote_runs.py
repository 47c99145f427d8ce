"""
Reports, runs and plans at the command line, with the backlog on a server: the same commands, the same output.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from backlog_store.access import Scope
from backlog_store.backlog import Backlog, open_backlog
from backlog_store.commands import ApplyPolicy
from backlog_store.model import Actor
from backlog_store.planning import plans_in_store
from backlog_store.web.site import Asker
from tests.cli.conftest import REPORTS, Cli, cli
from tests.web.serving import Served

__all__ = ["cli"]  # a fixture

EAGER = "closing: {misses: 1, min_age_hours: 0, close_floor: 3}"
#: What is drawn for each store: batches, tokens of plans, instants, names of runs.
_DRAWN = re.compile(r"cm_\w+|\b\d{8}T\d{6}-\w+|\d{4}-\d\d-\d\d[T ][\d:.]+Z?|plan-\w{12}|\b[0-9a-z]{16}\b")


@pytest.fixture
def backlog() -> Backlog:
    """
    Return the store behind the service, whose clock is that of who asks.
    """
    return open_backlog("memory://", actor="scanner")


def without(count: int, folder: Path) -> str:
    """
    Write the report of ruff without its last findings.
    """
    data = json.loads((REPORTS / "ruff.sarif").read_text())
    data["runs"][0]["results"] = data["runs"][0]["results"][:-count]
    path = folder / f"without-{count}.sarif"
    path.write_text(json.dumps(data))
    return str(path)


def worked(cli: Cli) -> list[str]:
    """
    Take reports in, as runs and by plans; return all that was printed.
    """
    said: list[str] = []

    def run(*args: str, expect: int = 0) -> str:
        result = cli(*args, expect=expect)
        said.append(_DRAWN.sub("…", f"{result.stdout}{result.stderr}"))
        return result.stdout

    whole, less, few = str(REPORTS / "ruff.sarif"), without(2, cli.folder), without(7, cli.folder)
    run("report", whole, "--service", "shop", "--dry-run")
    run("report", whole, "--service", "shop", "--complete")
    id = cli("run", "begin", "--source", "ruff", "--service", "shop", "--name", "job-1").stdout.strip()
    run("report", less, "--service", "shop", "--run", id)
    run("run", "show", id)
    run("run", "complete", id, "--expect", "6")
    token = cli.json("plan", whole, "--service", "shop", "--complete")["token"]
    run("plan", whole, "--service", "shop", "--complete")
    run("apply", token)
    run("apply", token)
    parked = cli.json("report", few, "--service", "shop", "--complete")["runs"][0]
    assert parked["state"] == "parked"
    run("run", "show", parked["id"])
    run("run", "list", "--state", "parked")
    run("run", "accept", parked["id"], "-m", "looked at it")
    run("run", "accept", "nosuchrun", expect=3)
    failed = cli("run", "begin", "--source", "ruff", "--service", "shop", "--name", "job-2").stdout.strip()
    run("run", "abort", failed, "-m", "killed")
    run("list", "--all", "--fields", "priority,status,title")
    return said


@pytest.mark.parametrize("scope", [None, Scope(role="worker"), Scope(role="worker", services=("shop",))])
def test_a_server_prints_what_a_file_prints(
    cli: Cli, backlog: Backlog, serve: Callable[..., Served], scope: Scope | None
) -> None:
    """
    Whatever is printed of reports, runs and plans is the same, also for who is bound to the service it is about.
    """
    store = f"sqlite://{cli.folder}/b.db"
    with open_backlog(store, actor=Actor("ana", "person")) as local:
        local.execute(ApplyPolicy(text=EAGER, over=0))
    backlog.acting_as("ana", person=True).execute(ApplyPolicy(text=EAGER, over=0))
    cli.env["BACKLOG_URL"] = store
    printed = worked(cli)
    cli.env["BACKLOG_URL"] = serve(Asker(name="ana", person=True, scope=scope)).url
    assert worked(cli) == printed


def test_a_bound_machine_plans_and_applies(cli: Cli, backlog: Backlog, serve: Callable[..., Served]) -> None:
    """
    Whoever sits at the command line, the plan is the machine's whose token asks; a plan of the API is applied there.
    """
    server = serve(Asker(name="ci", scope=Scope(role="reporter", services=("shop",), sources=("ruff",))))
    cli.env["BACKLOG_URL"] = server.url
    token = cli.json("plan", str(REPORTS / "ruff.sarif"), "--service", "shop")["token"]
    assert cli.json("apply", token)["counts"] == {"created": 8}
    assert [plan.by for plan in plans_in_store(backlog)] == ["ci"]
    asked = Request(f"{server.url}/api/v1/plans?service=shop", Path(without(2, cli.folder)).read_bytes())
    with urlopen(asked) as response:
        token = json.loads(response.read())["token"]
    cli.env["BACKLOG_URL"] = serve(Asker(name="ann", scope=Scope(role="worker"))).url
    assert cli.json("apply", token)["counts"] == {"unchanged": 6}
