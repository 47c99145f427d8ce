"""
How errors are told: words with a hint, JSON for scripts, one exit code a kind, no traceback.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backlog_store.cli.app import App
from backlog_store.cli.failures import tell_failure
from backlog_store.errors import EXIT_CODES, InvalidQuery
from tests.cli.conftest import Cli

BACKLOG = [sys.executable, "-c", "from backlog_store.cli.main import main; main()"]


def test_a_wrong_query_is_drawn_with_a_caret(cli: Cli) -> None:
    """
    The caret stands under the place, the hint names what was meant.
    """
    told = cli("list", "burn status:opne", expect=2).stderr.splitlines()

    assert told == ["error: no status 'opne'.", "  burn status:opne", "              ^", "hint: Did you mean open?"]
    assert told[2].index("^") - 2 == told[1].index("opne") - 2


def test_a_long_or_hostile_query_keeps_its_caret(cli: Cli) -> None:
    """
    Of a long query the part around the place is shown; control characters are not sent to the terminal.
    """
    told = cli("list", "word " * 100 + "\x1b[31m status:opne", expect=2).stderr.splitlines()

    assert told[2].index("^") == told[1].index("opne")
    assert len(told[1]) <= 110
    assert "\x1b" not in "".join(told)


@pytest.mark.parametrize(
    ("args", "told"),
    [(["lsit"], "list"), (["serach"], "search"), (["list", "--jsn"], "--json"), (["config", "lst"], "list")],
)
def test_misspelt_commands_and_options_are_recognised(cli: Cli, args: list[str], told: str) -> None:
    """
    The nearest name is suggested; the exit code is that of wrong usage.
    """
    stderr = cli(*args, expect=2).stderr
    assert "Did you mean" in stderr
    assert told in stderr


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["list", "status:opne"], "invalid_query"),
        (["list", "--fields", "nope"], "usage"),
        (["show", "nosuch"], "not_found"),
        (["add", ""], "invalid_input"),
        (["list", "--store", "sqlit:x"], "config_error"),
        (["list", "--store", "sqlite:nosuch.db"], "backend_unavailable"),
        (["nosuch"], "usage"),
    ],
)
def test_with_json_errors_are_json(cli: Cli, args: list[str], code: str) -> None:
    """
    One object on stderr with the stable code and the message; stdout stays empty.
    """
    result = cli(*args, "--json", expect=None)

    error = msgspec.json.decode(result.stderr)["error"]
    assert error["code"] == code
    assert error["message"]
    assert result.stdout == ""


def test_every_exit_code_of_the_table_is_what_the_program_ends_with() -> None:
    """
    The command line ends with the code of the error's class, and with 130 when it is interrupted.
    """
    for cls, code in EXIT_CODES.items():
        error = cls.__new__(cls)
        BaseException.__init__(error, "x")
        error.__dict__.update(message="x", hint="", faults=(), what="input", text="", offset=0, reason="", expected=(),
                              suggestion="")  # fmt: skip
        assert code == tell_failure(App(), error, as_json=False)
    assert tell_failure(App(), click.Abort(), as_json=False) == 130
    assert tell_failure(App(), InvalidQuery("x", offset=0, reason="y"), as_json=False) == 2


def test_debug_shows_the_traceback(cli: Cli) -> None:
    """
    With --debug the place in the program is shown behind the error; without it never.
    """
    from click.testing import CliRunner

    from backlog_store.cli.main import cli as root

    shown = CliRunner(env=cli.env).invoke(root, ["show", "nosuch", "--debug"])
    assert "Traceback" in shown.stderr
    assert "Traceback" not in cli("show", "nosuch", expect=3).output


def test_a_question_answered_with_no_changes_nothing(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On a terminal a bulk edit asks; no leaves all as it is, with the code of an interruption.
    """
    cli.add("one")
    monkeypatch.setattr("backlog_store.cli.app.stdin_is_terminal", lambda: True)

    assert "Close as fixed: 1 item?" in cli("close", "--query", "one", input="n\n", expect=130).stderr
    assert len(cli.ids()) == 1
    cli("close", "--query", "one", "--no-input", input="y\n", expect=2)
    cli("close", "--query", "one", input="y\n")
    assert cli.ids() == []


def run(folder: Path, *args: str) -> subprocess.Popen[bytes]:
    """
    Start the real program in a folder.
    """
    env = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return subprocess.Popen([*BACKLOG, *args], cwd=folder, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)  # fmt: skip


def test_a_reader_that_leaves_is_no_failure(cli: Cli) -> None:
    """
    `backlog list | head` ends quietly.
    """
    cli("init")
    drafts = "".join(f'{{"title": "{"x" * 900} {number}"}}\n' for number in range(500))
    cli("report", "-", "--format", "ndjson", input=drafts)
    process = run(cli.folder, "list", "--limit", "0", "--format", "jsonl")
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.readline()
    process.stdout.close()

    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == b""
    process.stdin.close()
    process.stderr.close()


def test_an_interruption_ends_with_130(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Ctrl-C in the middle of a command ends with 130 and without a traceback.
    """

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("backlog_store.cli.commands.list.print_items", interrupted)
    assert "Stopped" in cli("list", expect=130).stderr


ARGUMENTS = st.lists(
    st.one_of(
        st.sampled_from(["list", "show", "edit", "move", "--query", "--json", "--limit", "-1", "tag", "+a", "-b", "log",
                         "--since", "stats", "--by", "view", "save", "snooze", "add", "--meta", "a=", "--due", "--fix",
                         "--sort", "--after", "search", "verdict", "explain", "undo", "config", "get", "--fields"]),
        st.text(max_size=12),
    ),
    max_size=6,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(ARGUMENTS)
def test_whatever_is_typed_there_is_no_traceback(cli: Cli, args: list[str]) -> None:
    """
    Any arguments end with a code of the table, and with words.
    """
    if "report" in args or "import" in args:
        return
    result = cli("--store", "memory://", "--no-input", *args, expect=None)

    assert result.exit_code in {0, *EXIT_CODES.values()}
    assert "internal error" not in result.output
