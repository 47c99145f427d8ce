"""
Who may sign in, at the command line: tokens and people on every durable store.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.stores import url_of

DURABLE = ("jsonl", "sqlite", "postgres")


@pytest.fixture(params=DURABLE)
def stored(cli: Cli, request: pytest.FixtureRequest, tmp_path: Path) -> Cli:
    """
    A command line on a new store of each durable kind, used by a person.
    """
    cli.env["BACKLOG_URL"] = url_of(request.param, request, tmp_path)
    return cli


def test_a_token_is_shown_once_listed_rotated_and_revoked(stored: Cli) -> None:
    """
    The secret is printed when it is issued and never again; a rotated one is another; a revoked one is in no list.
    """
    secret = stored("token", "issue", "ruff", "--role", "reporter", "--source", "ruff", "--service", "web").stdout
    secret = next(word for word in secret.split() if word.startswith("blt_"))
    listed = stored("token", "list").stdout
    assert "ruff" in listed
    assert secret not in listed
    assert secret[-4:] in listed
    again = stored("token", "rotate", "ruff").stdout
    assert secret not in again
    assert "blt_" in again
    stored("token", "revoke", "ruff")
    assert "ruff" not in stored("token", "list").stdout
    assert "ruff" in stored("token", "list", "--all").stdout
    assert "blt_" not in stored("log").stdout
    stored("verify")


def test_a_person_is_added_edited_and_removed(stored: Cli) -> None:
    """
    A password is taken from stdin and kept as a digest alone; each decision is an event, and the trail verifies.
    """
    password = "correct horse battery"
    stored("person", "add", "ann", "--role", "admin", "--password-stdin", input=password + "\n")
    assert "ann" in stored("person", "list").stdout
    stored("person", "edit", "ann", "--role", "worker", "--last-admin")
    assert "worker" in stored("person", "list").stdout
    stored("person", "remove", "ann")
    assert "ann" not in stored("person", "list").stdout
    assert password not in stored("export").stdout
    stored("verify")


def test_the_last_who_may_administer_stays_unless_it_is_meant(stored: Cli) -> None:
    """
    Removing, demoting and revoking the last one is refused, and says what to do; not that of any other.
    """
    stored("person", "add", "ann", "--role", "admin", "--by-proxy")
    for command in (("person", "remove", "ann"), ("person", "edit", "ann", "--role", "worker"),
                    ("person", "edit", "ann", "--role", "admin", "--env", "prod")):  # fmt: skip
        refused = stored(*command, expect=4)
        assert "--last-admin" in refused.stderr
    stored("token", "issue", "ops", "--role", "admin")
    stored("person", "remove", "ann")
    stored("token", "revoke", "ops", expect=4)
    stored("token", "revoke", "ops", "--last-admin")
    assert stored("token", "list", "--json").stdout.strip() == "[]"


def test_what_nobody_may_be_is_refused(stored: Cli) -> None:
    """
    A short password, a name that is unknown, and a second token of one name are refused, and say why.
    """
    stored("person", "add", "ann", "--role", "admin", "--password-stdin", input="short\n", expect=2)
    stored("token", "revoke", "nobody", expect=3)
    stored("token", "issue", "ruff", "--role", "reporter")
    stored("token", "issue", "ruff", "--role", "reporter", expect=5)


def test_a_log_of_json_has_no_other_lines(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where it serves, and that it made a backlog, is said to people alone: what reads the log reads JSON.
    """
    monkeypatch.setattr("backlog_store.web.serving.serve", lambda *_, **__: None)
    assert cli("serve", "--log-format", "json").stderr == ""
    told = cli("--store", "sqlite:other.db", "serve").stderr
    assert ("Made a new backlog" in told, "Serving http://127.0.0.1:8420/" in told) == (True, True)
