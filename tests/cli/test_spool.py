"""
The command line through outages of a real PostgreSQL: what is accepted, what is told, what waits, and where it ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backlog_store import open_backlog
from backlog_store.executors.failover import FailoverExecutor
from backlog_store.testing.postgres import PostgresServer
from tests.cli.conftest import REPORTS, Cli

TRIVY = str(REPORTS / "trivy.json")
FINDINGS = 7
Outage = Callable[[], Any]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """
    A server that these tests may kill.
    """
    with PostgresServer() as server:
        yield server


@pytest.fixture
def dsn(server: PostgresServer) -> Iterator[str]:
    """
    The URL of an empty database on it.
    """
    dsn = server.create_database()
    yield dsn
    server.drop_database(dsn)


@pytest.fixture
def auto(cli: Cli, dsn: str, tmp_path: Path, patient_auto: None) -> Cli:
    """
    A command line whose store is of auto, with its spool in a folder of its own.
    """
    cli.env |= {"BACKLOG_URL": f"auto+{dsn}", "BACKLOG_SPOOL": str(tmp_path / "spool"), "BACKLOG_SERVICE": "shop"}
    return cli


@pytest.fixture
def outage(server: PostgresServer) -> Outage:
    """
    A context in which the server is dead; behind it, it is back.
    """

    @contextmanager
    def dead() -> Iterator[None]:
        server.kill()
        try:
            yield
        finally:
            server.restart()

    return dead


def drafts(folder: Path, name: str, *titles: str) -> str:
    """
    A report in CSV of problems with these titles; returns its path.
    """
    path = folder / name
    path.write_text("title,dedupe_key\n" + "".join(f"{title},{title}\n" for title in titles), encoding="utf-8")
    return str(path)


def keep_copy(cli: Cli) -> None:
    """
    Bring the local copy up to date, as a process that runs for longer does.
    """
    with open_backlog(str(cli.env["BACKLOG_URL"]), spool=cli.env["BACKLOG_SPOOL"]) as backlog:
        assert isinstance(backlog.executor, FailoverExecutor)
        while not backlog.executor.standing().copy_as_of:
            backlog.executor.step()


def test_reports_are_accepted_during_an_outage_and_recorded_behind_it(auto: Cli, outage: Outage) -> None:
    """
    Each answer says that it is not recorded yet and where it waits; the first command behind the outage records it.
    """
    auto("list")
    with outage():
        said = auto("report", TRIVY)
        told = auto.json("report", TRIVY)
        waits = auto.json("spool", "status")

        assert f"{FINDINGS} accepted" in said.stdout
        assert "undo with" not in said.stderr
        assert "Accepted, not yet recorded: the database is away; 1 command waits in " in said.stderr
        assert waits["spool"] in said.stderr
        assert (told["accepted"], told["counts"]["accepted"], sum(told["counts"].values())) == (
            True,
            FINDINGS,
            FINDINGS,
        )
        assert (waits["waiting"], waits["parked"], waits["balances"]) == (2, 0, True)

    behind = auto("list", "--limit", "0", "--format", "jsonl")
    account = auto.json("spool", "status")["account"]

    assert "The database is back; 2 accepted commands recorded now." in behind.stderr
    assert len(behind.stdout.splitlines()) == FINDINGS
    assert (account["accepted"], account["applied"], account["waiting"]) == (2, 2, 0)
    assert auto.json("report", TRIVY)["accepted"] is False
    assert auto.json("verify")["ok"]


def test_what_needs_the_database_fails_closed(auto: Cli, outage: Outage, tmp_path: Path) -> None:
    """
    A change that rests on what is stored says why it failed and changes nothing; a gate that cannot be decided fails.
    """
    auto("report", TRIVY)
    id = auto.ids()[0]
    keep_copy(auto)
    with outage():
        refused = auto("edit", id, "--priority", "P3", expect=6).stderr
        assert "nothing was written" in refused
        assert "hint:" in refused
        assert "nothing was written" in auto("add", "by hand", expect=6).stderr
        gate = auto("report", drafts(tmp_path, "a.csv", "one"), "--priority", "P1", "--fail-on", "new:P1", expect=6)
        assert "--fail-on new:P1 needs the database" in gate.stderr
        assert auto.json("report", TRIVY, "--fail-on", "new:P0,reopened:P1", expect=6)["undecided"] == [
            "new:P0",
            "reopened:P1",
        ]
        assert "by --fail-on any:P0" in auto("report", TRIVY, "--fail-on", "any:P0", expect=1).stderr
        health = auto.json("doctor", expect=6)
        assert any("accepted commands wait" in warning for warning in health["warnings"])

    assert len(auto.ids()) == FINDINGS + 1
    assert not auto.ids("priority:P3 by hand")


def test_reads_say_that_they_see_a_copy(auto: Cli, outage: Outage) -> None:
    """
    While the database is away reads answer from the copy, accepted comments over it, and say as of when.
    """
    auto("report", TRIVY)
    ids = auto.ids()
    assert not auto("list").stderr.startswith("Copy as of")
    keep_copy(auto)
    with outage():
        seen = auto("list", "--fields", "id", "--format", "jsonl")
        assert seen.stderr.startswith("Copy as of ")
        assert "the database is away" in seen.stderr
        assert len(seen.stdout.splitlines()) == len(ids)
        answer = auto("comment", ids[0], "seen again", "--json")
        assert '"accepted":true' in answer.stdout
        assert "Accepted, not yet recorded" in answer.stderr
        assert "seen again" in auto("show", ids[0]).stdout

    assert "seen again" in auto("show", ids[0]).stdout
    assert auto.json("spool", "status")["account"]["applied"] == 1


def test_drain_exits_with_zero_only_if_nothing_waits(auto: Cli, outage: Outage, tmp_path: Path) -> None:
    """
    It says what keeps it while the database is away, and what became of everything behind the outage.
    """
    auto("list")
    assert auto("spool", "drain").stdout == "Nothing waits.\n"
    with outage():
        for number in range(3):
            auto("report", drafts(tmp_path, "a.csv", f"problem {number}"))
        failed = auto("spool", "drain", expect=6)
        assert "what waits goes on waiting" in failed.stderr
        assert "postgres" in failed.stderr

    assert auto.json("spool", "drain") == {"applied": 3, "there": 0, "parked": 0, "waiting": 0}
    assert auto.json("spool", "drain") == {"applied": 0, "there": 0, "parked": 0, "waiting": 0}
    assert [row["title"] for row in auto.json("list", "--sort", "created")] == [f"problem {n}" for n in range(3)]


def test_parked_commands_keep_their_reason_and_can_be_retried(auto: Cli, outage: Outage, tmp_path: Path) -> None:
    """
    A request id that was used for something else is refused by the rules, which is found at the drain.
    """
    auto("report", drafts(tmp_path, "a.csv", "one"), "--request-id", "nightly")
    with outage():
        auto("report", drafts(tmp_path, "b.csv", "two"), "--request-id", "nightly")
        auto("report", drafts(tmp_path, "c.csv", "three"))
        waiting = auto.json("spool", "list")
        assert [(row["number"], row["state"], row["problems"]) for row in waiting] == [(1, "waiting", 1),
                                                                                       (2, "waiting", 1)]  # fmt: skip
        assert "report: two" in auto("spool", "list", "--limit", "1").stdout
        assert "1 more" in auto("spool", "list", "--limit", "1").stderr
        assert auto.json("spool", "show", "1")["command"]["body"]["drafts"][0]["title"] == "two"
        auto("spool", "retry", "1", expect=3)  # it waits

    drained = auto("spool", "drain")
    assert drained.stdout == "1 applied, 0 already there, 1 parked; nothing waits any more\n"
    (parked,) = auto.json("spool", "list", "--parked")
    assert (parked["number"], parked["code"]) == (1, "request_reused")
    assert "nightly" in auto("spool", "show", "1").stdout
    assert "spool list --parked" in str(auto.json("doctor")["warnings"])
    auto("spool", "retry", expect=2)
    assert "no parked command '2'" in auto("spool", "retry", "1", "2", expect=3).stderr
    with outage():  # none of this needs the database
        assert auto.json("spool", "retry", "1") == {"retried": 1, "waiting": 1}
        assert auto.json("spool", "list", "--parked") == []

    assert auto.json("spool", "drain")["parked"] == 1
    assert auto.json("spool", "retry", "--all")["retried"] == 1
    status = auto.json("spool", "status")
    assert (status["waiting"], status["balances"], status["account"]["accepted"]) == (1, True, 2)


def test_a_database_set_up_anew_gets_nothing_unless_it_is_adopted(auto: Cli, outage: Outage, dsn: str) -> None:
    """
    Another store under the same address is named, and what waits goes on waiting until somebody says so.
    """
    auto("list")
    with outage():
        auto("report", TRIVY)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA backlog_store CASCADE")
    assert "--adopt" in auto("spool", "drain", expect=6).stderr
    assert auto.json("spool", "status")["waiting"] == 1
    assert "Nobody can be asked" in auto("spool", "drain", "--adopt", expect=2).stderr
    assert auto.json("spool", "drain", "--adopt", "--yes")["applied"] == 1
    assert len(auto.ids()) == FINDINGS


def test_looking_at_the_spool_never_asks_the_database(cli: Cli, tmp_path: Path) -> None:
    """
    Not one connection is made by status, list, show and retry.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        cli.env |= {"BACKLOG_URL": f"auto+postgresql://x@{place}/x", "BACKLOG_SPOOL": str(tmp_path / "spool")}
        assert "nothing was ever accepted" in cli("spool", "status").stdout
        assert not (tmp_path / "spool").exists()
        cli("report", drafts(tmp_path, "a.csv", "one"), "--service", "shop")
        while True:  # those of the report
            try:
                silent.accept()[0].close()
            except BlockingIOError:
                break
        assert "1 command" in cli("spool", "status").stdout
        assert "report: one" in cli("spool", "list").stdout
        assert '"title": "one"' in cli("spool", "show", "1").stdout
        assert cli("spool", "retry", "--all").stdout == "Nothing is parked.\n"
        assert cli("spool", "show", "2", expect=3).stderr.startswith("error: no accepted command '2'")
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_a_folder_that_can_hold_no_spool_is_told(auto: Cli, tmp_path: Path) -> None:
    """
    Relative, missing and other than a folder: each with its own reason, before anything is reported.
    """
    file = tmp_path / "file"
    file.touch()
    for folder, reason in (("spool", "not of that form"), (f"{tmp_path}/none/spool", "there is no folder"),
                           (str(file), "it is a file")):  # fmt: skip
        auto.env["BACKLOG_SPOOL"] = folder
        assert reason in auto("report", TRIVY, expect=2).stderr
    auto.env["BACKLOG_SPOOL"] = str(tmp_path / "spool")
    assert auto.json("report", TRIVY)["counts"]["created"] == FINDINGS
    auto.env["BACKLOG_URL"] = "memory://"
    assert "Only a store of auto has a spool" in auto("spool", "status", expect=2).stderr


def test_a_command_accepts_nothing_into_memory_that_ends_with_it(auto: Cli, outage: Outage, tmp_path: Path) -> None:
    """
    Where the spool's disk refuses too, a report fails and says so: it is not acknowledged and then lost.
    """
    auto("list")
    with outage():
        auto("report", TRIVY)
        (journal,) = (tmp_path / "spool").glob("journal.jsonl")
        whole = journal.read_bytes()
        journal.write_bytes(whole[:40] + b"?" + whole[41:])
        failed = auto("report", TRIVY, expect=6).stderr
        assert "takes nothing" in failed
        assert "nothing was kept" in failed
        journal.write_bytes(whole)
        assert auto.json("spool", "status")["waiting"] == 1

    assert auto.json("spool", "drain")["applied"] == 1


def test_processes_share_a_spool(auto: Cli, outage: Outage, tmp_path: Path) -> None:
    """
    What several processes accept at once, several processes drain at once: each report is there once.
    """
    auto("list")
    env = {**os.environ, **{name: value for name, value in auto.env.items() if value is not None}}
    titles = [f"problem {number}" for number in range(4)]
    program = "from backlog_store.cli.main import main; main()"

    def start(*args: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", program, *args], env=env, stdout=subprocess.PIPE, text=True)

    with outage():
        reports = [start("report", drafts(tmp_path, f"{title}.csv", title), "--json") for title in titles]
        for process in reports:
            assert '"accepted":true' in process.communicate()[0]
            assert process.returncode == 0
    drains = [start("spool", "drain") for _ in range(2)]
    for process in drains:
        process.communicate()
        assert process.returncode == 0

    assert sorted(row["title"] for row in auto.json("list")) == titles
    account = auto.json("spool", "status")["account"]
    assert (account["accepted"], account["applied"] + account["there"], account["waiting"]) == (4, 4, 0)
