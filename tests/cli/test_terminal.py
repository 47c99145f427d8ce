"""
On a terminal: colour, short ids, lines that fit; and texts that cannot steer it.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from typing import BinaryIO

import pytest

from backlog_store.cli.text import cut, neutral, width
from tests.cli.conftest import Cli

STYLES = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(cli: Cli, *args: str, columns: int = 60, talk: BinaryIO | None = None, **env: str) -> str:
    """
    Return what the program writes to a terminal of so many columns; *talk* takes its stderr instead.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    program = "from backlog_store.cli.main import main; main()"
    # The runner of parallel tests says how wide its own terminal is; that would win over ours.
    ambient = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    full = {**ambient, **{name: value for name, value in cli.env.items() if value}, "TERM": "xterm", **env}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *args], stdout=theirs, stderr=talk or theirs, stdin=theirs, env=full
    )
    os.close(theirs)
    told = b""
    try:
        while block := os.read(ours, 65536):
            told += block
    except OSError:
        pass  # what Linux says when the other end is closed
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return told.decode()


def test_a_table_fits_the_terminal(cli: Cli) -> None:
    """
    Ids are short, the title is cut, and the only escapes are styles of ours.
    """
    cli("init")
    id = cli.add(
        "A rather long title with \x1b]0;evil\x07 in it, that goes on and on and on", "-p", "P0", "--due", "today"
    )
    told = on_terminal(cli, "list")
    plain = STYLES.sub("", told)

    assert "\x1b[31m" in told
    assert id[3:11] in plain
    assert id not in plain
    assert [line for line in plain.splitlines() if width(line) > 60] == []
    assert "…" in plain
    assert not {"\x1b", "\x07"} & set(plain)


def test_a_plan_is_coloured_and_fits(cli: Cli) -> None:
    """
    The signs are green, no escape is shown as text, and a long title is cut.
    """
    cli("init")
    drafts = json.dumps([{"title": f"A rather long title of problem {n} that goes on", "service": "s"} for n in "ab"])
    (cli.folder / "drafts.json").write_text(drafts)
    told = on_terminal(cli, "plan", "drafts.json", columns=70)
    plain = STYLES.sub("", told)

    assert 2 == told.count("\x1b[32m  + create\x1b[0m")
    assert "x1b" not in plain
    assert [line for line in plain.splitlines() if width(line) > 70] == []


def test_talk_that_goes_to_a_file_is_not_coloured(cli: Cli) -> None:
    """
    What is told beside the data has the colours of where it goes, not of where the data goes.
    """
    cli("init")
    (cli.folder / "drafts.json").write_text(
        '[{"title": "t", "service": "s", "dedupe_key": "run-2026-01-01T10:00:00Z"}]'
    )
    with (cli.folder / "talk").open("wb") as talk:
        on_terminal(cli, "report", "drafts.json", talk=talk)
    told = (cli.folder / "talk").read_text()

    assert told.startswith("key  ")
    assert "\x1b" not in told


def test_no_color_means_no_colour(cli: Cli) -> None:
    """
    NO_COLOR and ``--color never`` take all styles away; FORCE_COLOR brings them to a pipe.
    """
    cli("init")
    cli.add("one", "-p", "P0")

    assert "\x1b" not in on_terminal(cli, "list", NO_COLOR="1")
    assert "\x1b" not in on_terminal(cli, "list", "--color", "never")
    assert "\x1b" not in cli("list").stdout
    cli.env["FORCE_COLOR"] = "1"
    assert "\x1b[31m" in cli("list").stdout


def test_a_description_is_drawn_without_what_it_hides(cli: Cli) -> None:
    """
    Markdown is laid out on a terminal; the target of a link stays visible.
    """
    cli("init")
    id = cli.add("one", "-d", "# Head\n\nSee [here](https://example.org/x) \x1b[2J")
    plain = STYLES.sub("", on_terminal(cli, "show", id, columns=100))

    assert "https://example.org/x" in plain
    assert "# Head" not in plain
    assert "\x1b" not in plain


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("a\u200db", 2), ("🚀", 2), ("", 0)]
)
def test_the_width_of_a_text(text: str, columns: int) -> None:
    """
    Wide characters take two columns, combining ones none.
    """
    assert columns == width(text)


def test_cutting_keeps_to_the_columns() -> None:
    """
    A cut text never takes more columns than there are, wide characters or not.
    """
    for text in ("日本語の長い題名", "abcdefghij", "a日b本c語"):
        for columns in range(1, 12):
            assert width(cut(text, columns)) <= columns


def test_what_steers_a_terminal_is_shown_instead() -> None:
    """
    Escapes, C1 controls and bidirectional marks become text; line ends become spaces.
    """
    assert neutral("a\x1b[2Jb\x9bc\u202ed\ne") == "a\\x1b[2Jb\\x9bc\\u202ed e"
    assert neutral("a\nb", lines=True) == "a\nb"


def through_a_shell(cli: Cli, redirections: str, *args: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """
    Run the program with its streams as a shell sets them, and return what came out.
    """
    program = [sys.executable, "-c", "from backlog_store.cli.main import main; main()", *args]
    full = {**os.environ, **{name: value for name, value in cli.env.items() if value}, **env}
    return subprocess.run(
        ["sh", "-c", f'"$@" {redirections}', "sh", *program], capture_output=True, check=False, timeout=300, env=full
    )


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_trouble(cli: Cli, redirections: str) -> None:
    """
    Jobs are started like that: the work is done, and nothing that is said goes into the store's file instead.
    """
    cli("init", "--store", "jsonl:store")
    assert 0 == through_a_shell(cli, redirections, "add", "one").returncode
    assert 3 == through_a_shell(cli, redirections, "show", "nope").returncode

    assert ["one"] == [row["title"] for row in cli.json("list", "--fields", "title")]
    cli("verify")


def test_what_an_encoding_lacks_is_escaped(cli: Cli) -> None:
    """
    A pipe of a code page has no bars and not every letter: that is no failure, and no letter is lost.
    """
    cli("init")
    cli.add("größer … 日本")
    for args in (["list"], ["dashboard"], ["list", "--json"]):
        done = through_a_shell(cli, "", *args, PYTHONIOENCODING="latin-1")
        assert 0 == done.returncode, done.stderr
    told = through_a_shell(cli, "", "list", PYTHONIOENCODING="latin-1").stdout.decode("latin-1")

    assert "größer \\u2026 \\u65e5\\u672c" in told
