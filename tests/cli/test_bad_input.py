"""
Bad input, as a user hands it in: one clear refusal with its exit code, and a store that is what it was.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from backlog_store.codec import encode
from backlog_store.errors import (
    EXIT_CODES,
    BackendError,
    InvalidInput,
    NotFound,
    RevisionConflict,
    TransitionNotAllowed,
    exit_code,
)

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

REPORTS = Path(__file__).parents[1] / "assets" / "reports"
_BOMB = b'<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>'


def _exported(cli: Cli) -> bytes:
    return cli("export").stdout_bytes


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(b"neither this nor that", "not a known format", id="unknown format"),
        pytest.param(b"", "empty", id="empty"),
        pytest.param((REPORTS / "bandit.sarif").read_bytes()[:2000], "cut off", id="truncated JSON"),
        pytest.param((REPORTS / "pytest.xml").read_bytes()[:300], "cut off", id="truncated XML"),
        pytest.param(_BOMB, "document type", id="entity bomb"),
        pytest.param(b'[{"title": NaN}]', "not valid JSON", id="NaN"),
        pytest.param(b'[{"title": "a\\ud800"}]', "lone surrogate", id="lone surrogate"),
    ],
)
def test_a_report_that_cannot_be_read_is_refused_whole(cli: Cli, content: bytes, told: str) -> None:
    """
    The refusal says what is wrong, and nothing of the report is taken in.
    """
    cli.add("One that is there")
    before = _exported(cli)
    result = cli("report", "-", "-s", "app", input=content, expect=EXIT_CODES[InvalidInput])
    assert told in result.stderr
    assert _exported(cli) == before


@pytest.mark.parametrize(
    ("draft", "pointer"),
    [
        pytest.param(b'{"title": 5}', "/title", id="wrong type"),
        pytest.param(b'{"title": "x", "foo": 1}', "/foo", id="unknown field"),
        pytest.param(b'{"title": "' + b"x" * 100_000 + b'"}', "/title", id="too long"),
        pytest.param(b'{"title": "a\\u0000b"}', "/title", id="NUL"),
        pytest.param(b'{"title": "x", "due_date": "2026-02-30"}', "/due_date", id="no such day"),
    ],
)
def test_a_faulty_draft_is_refused_by_field(cli: Cli, draft: bytes, pointer: str) -> None:
    """
    The account names the field of the draft that was refused; nothing is written.
    """
    cli.add("One that is there")
    before = _exported(cli)
    result = cli("report", "-", "-s", "app", input=b"[" + draft + b"]", expect=1)
    assert pointer in result.output
    assert _exported(cli) == before


def test_unknown_ids_and_stale_revisions_are_refused(cli: Cli) -> None:
    """
    What is not there, and what changed since it was read, are told apart by the exit code.
    """
    id = cli.add("One that is there")
    before = _exported(cli)
    assert "zzzz" in cli("close", "zzzz", expect=EXIT_CODES[NotFound]).stderr
    stale = exit_code(RevisionConflict(id, expected=9, found=1))
    assert "revision 9" in cli("edit", id, "--title", "x", "--if-revision", "9", expect=stale).stderr
    assert _exported(cli) == before


@pytest.mark.parametrize("kind", ["event", "sighting"])
def test_an_export_without_its_items_is_refused(cli: Cli, kind: str) -> None:
    """
    An event or a sighting that belongs to nothing is named by its line, before anything is written.
    """
    cli("report", str(REPORTS / "bandit.sarif"), "-s", "app")
    cli("report", str(REPORTS / "bandit.sarif"), "-s", "app")
    before = _exported(cli)
    lines = before.splitlines(keepends=True)
    start = b'{"event"' if kind == "event" else b'{"record"'
    orphan = next(line for line in lines if line.startswith(start))
    counts = {"events": int(kind == "event"), "items": 0, "records": int(kind != "event")}
    content = lines[0] + orphan + encode({"end": counts}) + b"\n"
    result = cli("import", "-", input=content, expect=EXIT_CODES[InvalidInput])
    assert "/line/2" in result.stderr
    assert _exported(cli) == before


def test_a_store_to_copy_from_that_is_not_there(cli: Cli) -> None:
    """
    The refusal names the path, and no store is made on either side.
    """
    result = cli("--store", "sqlite:nothere.db", "migrate", "--to", "jsonl:new", expect=EXIT_CODES[BackendError])
    assert "there is no backlog at nothere.db" in result.stderr.replace(f"{cli.folder}/", "")
    assert list(cli.folder.iterdir()) == []


def test_a_file_that_is_no_store_is_left_alone(cli: Cli) -> None:
    """
    A damaged or foreign file is told with its path, and not written over.
    """
    file = cli.folder / "bad.db"
    file.write_bytes(b"garbage\n")
    assert "bad.db" in cli("--store", "sqlite:bad.db", "add", "x", expect=EXIT_CODES[BackendError]).stderr
    assert file.read_bytes() == b"garbage\n"


def test_a_misspelt_backend_is_corrected(cli: Cli) -> None:
    """
    The nearest backend is named.
    """
    assert "sqlite://" in cli("--store", "sqllite:///x", "list", expect=2).stderr


@pytest.mark.parametrize("prefix", ["bl_", "bl_x"])
def test_an_ambiguous_id_lists_what_it_may_mean(cli: Cli, prefix: str) -> None:
    """
    The candidates are told with their titles, as text and as JSON; nothing is written.
    """
    rows = [{"id": f"bl_x{name.lower()}0123456", "title": name} for name in ("One", "Two")]
    (cli.folder / "items.jsonl").write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    cli("import", "--legacy", "items.jsonl")
    before = _exported(cli)
    code = EXIT_CODES[NotFound]
    told = cli("close", prefix, expect=code).stderr
    assert [line.strip() for line in told.splitlines()[1:3]] == ["bl_xone0123456  One", "bl_xtwo0123456  Two"]
    error = msgspec.json.decode(cli("show", prefix, "--json", expect=code).stderr)["error"]
    assert ["One", "Two"] == error["titles"]
    assert _exported(cli) == before


def test_of_many_candidates_a_few_are_shown(cli: Cli) -> None:
    """
    Five, and a sign that there are more.
    """
    for number in range(7):
        cli.add(f"Item {number}")
    told = cli("show", "bl_", expect=EXIT_CODES[NotFound]).stderr.splitlines()
    assert told[6:] == ["  …", "hint: Give more characters."]


@pytest.mark.parametrize(
    "args",
    [["show", ""], ["show", " "], ["close", ""], ["log", ""], ["log", "--batch", ""], ["undo", ""],
     ["list", "--store", ""], ["list", "--actor", ""], ["assign", "@latest", ""],
     ["close", "--query", "One", "--yes", "--token", ""]],
)  # fmt: skip
def test_an_empty_variable_of_a_script_means_nothing_else(cli: Cli, args: list[str]) -> None:
    """
    An empty id, batch, store or token is refused: it must not mean the newest, the usual one, or no condition.
    """
    cli.add("One")
    before = _exported(cli)
    assert "empty" in cli(*args, expect=2).stderr
    assert _exported(cli) == before


@pytest.mark.parametrize(
    "args", [["show", "\udcff"], ["list", "\udcff"], ["add", "x", "-t", "a\udcff"], ["report", "\udcff.json"],
             ["\udcff"], ["config", "set", "env", "\udcff"], ["--store", "jsonl:\udcff", "add", "x"]],
)  # fmt: skip
def test_an_argument_that_is_not_utf8_is_refused_at_the_door(cli: Cli, args: list[str]) -> None:
    """
    One refusal for every command; it names the argument and can be printed, and no store is made.
    """
    told = cli(*args, expect=2).stderr
    assert f"Argument {[chr(0xDCFF) in arg for arg in args].index(True) + 1}," in told
    assert "\\udcff" in told
    assert "UTF-8" in msgspec.json.decode(cli(*args, "--json", expect=2).stderr)["error"]["message"]
    assert list(cli.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "pointer"),
    [("NaN", "/meta/a"), ("-Infinity", "/meta/a"), ("1e999", "/meta/a"), ('{"b": [1, 1e999]}', "/meta/a/b/1"),
     ('{"b": NaN}', "/meta/a/b"), (r'"\ud800"', "/meta/a")],
)  # fmt: skip
def test_what_json_cannot_hold_is_no_text(cli: Cli, value: str, pointer: str) -> None:
    """
    A member of meta that only looks like JSON is refused by its pointer; what looks like none is a text.
    """
    id = cli.add("One")
    before = _exported(cli)
    assert f"{pointer} =" in cli("add", "x", "--meta", f"a={value}", expect=2).stderr
    assert f"{pointer} =" in cli("edit", id, "--meta", f"a={value}", expect=2).stderr
    assert _exported(cli) == before
    for text in ("[draft] look", "{x}", "1.2.3", "nan"):
        cli("edit", id, "--meta", f"a={text}")
        assert cli.json("show", id)["meta"] == {"a": text}


def test_a_batch_that_is_not_there_is_told(cli: Cli) -> None:
    """
    `log --batch` and `undo` say the same of it, and both take the beginning of one that is there.
    """
    cli.add("One")
    assert "'zz'" in cli("log", "--batch", "zz", expect=EXIT_CODES[NotFound]).stderr
    assert "'zz'" in cli("undo", "zz", expect=EXIT_CODES[NotFound]).stderr
    batch = cli.json("batch")[0]["batch"]
    assert [batch] == [event["batch"] for event in cli.json("log", "--batch", batch[:11])]


def test_a_file_that_is_no_database_is_not_to_be_repaired(cli: Cli) -> None:
    """
    What helps a journal is not offered for other files.
    """
    (cli.folder / "bad.db").write_bytes(b"garbage" * 1000)
    for args in (["list"], ["doctor"]):
        told = cli("--store", "sqlite:bad.db", *args, expect=EXIT_CODES[BackendError]).output
        assert "no SQLite database" in told
        assert "--repair" not in told


@pytest.mark.parametrize("url", ["jsonl:there", "there", "sqlite:empty.db"])
def test_looking_makes_no_store_of_what_is_none(cli: Cli, url: str) -> None:
    """
    A folder without a journal and an empty file are no backlog yet: reading says so and leaves them as they are.
    """
    (cli.folder / "there").mkdir()
    (cli.folder / "empty.db").touch()
    assert "there is no backlog" in cli("list", "--store", url, expect=EXIT_CODES[BackendError]).stderr
    assert "there is no backlog" in cli("doctor", "--store", url).stdout
    assert sorted(file.name for file in cli.folder.iterdir()) == ["empty.db", "there"]
    assert list((cli.folder / "there").iterdir()) == []
    assert (cli.folder / "empty.db").stat().st_size == 0
    cli("add", "x", "--store", url)
    assert len(cli.json("list", "--store", url)) == 1


@pytest.mark.parametrize("url", ["jsonl:~nobody-here/x", "~nobody-here/x.db"])
def test_the_home_of_nobody_is_no_path(cli: Cli, url: str) -> None:
    """
    A user that the system does not know is a wrong setting; nothing called ~… is made.
    """
    assert "no such home folder" in cli("add", "x", "--store", url, expect=2).stderr
    assert list(cli.folder.iterdir()) == []


def test_a_newer_database_is_left_alone(cli: Cli) -> None:
    """
    A store that only a newer version may use is named with both versions, and not a byte of it changes.
    """
    url = f"sqlite:{cli.folder / 'newer.db'}"
    cli("add", "One", "--store", url)
    with closing(sqlite3.connect(cli.folder / "newer.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 99")
        connection.execute("UPDATE marks SET needs_schema = 99")
    before = (cli.folder / "newer.db").read_bytes()
    for args in (["list"], ["add", "x"], ["doctor"]):
        assert "schema 99" in cli("--store", url, *args, expect=EXIT_CODES[BackendError]).output
    assert (cli.folder / "newer.db").read_bytes() == before


def test_a_locked_database_is_waited_for_then_told(cli: Cli) -> None:
    """
    While another program holds it nothing is written, reading goes on, and the same command works afterwards.
    """
    url = f"sqlite:{cli.folder / 'x.db'}?busy_timeout_s=0.1"
    cli("add", "One", "--store", url)
    with closing(sqlite3.connect(cli.folder / "x.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert "locked by another process" in cli("add", "x", "--store", url, expect=EXIT_CODES[BackendError]).stderr
        assert len(cli.json("list", "--store", url)) == 1
    cli("add", "x", "--store", url)
    assert len(cli.json("list", "--store", url)) == 2


def test_a_torn_journal_goes_on_and_a_damaged_one_is_told(cli: Cli) -> None:
    """
    A last line that was cut is no item, and is set aside; a damaged one is named by its place until it is repaired.
    """
    journal = cli.folder / "j" / "journal.jsonl"
    cli("add", "One", "--store", "jsonl:j")
    cli("add", "Two", "--store", "jsonl:j")
    journal.write_bytes(journal.read_bytes().rstrip(b" \0\n")[:-20])
    assert [row["title"] for row in cli.json("list", "--store", "jsonl:j")] == ["One"]
    cli("add", "Three", "--store", "jsonl:j")
    assert sorted(row["title"] for row in cli.json("list", "--store", "jsonl:j")) == ["One", "Three"]

    damaged = bytearray(journal.read_bytes())
    place = damaged.index(b'"One"') + 2
    start = damaged.rindex(b"\n", 0, place) + 1
    damaged[place] ^= 1
    journal.write_bytes(damaged)
    told = cli("add", "x", "--store", "jsonl:j", expect=EXIT_CODES[BackendError]).stderr
    assert f"byte {start}:" in told
    assert "backlog doctor --repair" in told
    assert journal.read_bytes() == bytes(damaged)
    cli("doctor", "--repair", "--yes", "--store", "jsonl:j")
    assert [row["title"] for row in cli.json("list", "--store", "jsonl:j")] == ["Three"]


def test_a_driver_that_is_not_there_is_told_with_what_brings_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without psycopg a PostgreSQL URL names the extra to install; the URL can be kept all the same.
    """
    (tmp_path / "shadow" / "psycopg").mkdir(parents=True)
    (tmp_path / "shadow" / "psycopg" / "__init__.py").write_text("raise ImportError('no libpq')", encoding="utf-8")
    run = [sys.executable, "-c", "from backlog_store.cli.main import main; main()"]
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    done = subprocess.run([*run, "list", "--store", "postgresql://h/x"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'backlog-store[postgres]'" in done.stderr
    subprocess.run([*run, "config", "set", "url", "postgresql://h/x"], capture_output=True, check=True)
    assert cli("config", "get", "url").stdout == "postgresql://h/x\n"


def test_a_forbidden_move_names_the_allowed_ones(cli: Cli) -> None:
    """
    As text and as data, with the exit code of what is not allowed.
    """
    id = cli.add("One")
    code = EXIT_CODES[TransitionNotAllowed]
    assert "Allowed from open: blocked, canceled, in_progress." in cli("move", id, "done", expect=code).stderr
    error = msgspec.json.decode(cli("move", id, "done", "--json", expect=code).stderr)["error"]
    assert error["allowed"] == ["blocked", "canceled", "in_progress"]


def test_the_server_s_own_words_end_once(cli: Cli) -> None:
    """
    A question of the driver is not closed by a full stop, and its lines do not run into each other.
    """
    told = cli("list", "--store", "postgresql://u@127.0.0.1:1/x", expect=EXIT_CODES[BackendError]).stderr
    assert "?." not in told
    assert "refused; " in told


@pytest.mark.parametrize(
    "args",
    [["add", ""], ["add", "x", "--key", "k" * 1000], ["close", "zz"], ["move", "zz", "done"], ["comment", "zz", "x"],
     ["link", "zz", "blocks", "yy"], ["undo"], ["undo", "zz"], ["verdict", "lift", "k"], ["view", "drop", "x"],
     ["view", "save", "?", "x"], ["close", "zz", "--reason", "duplicate", "--of", "yy"]],
)  # fmt: skip
def test_a_refused_command_makes_no_store(cli: Cli, tmp_path: Path, args: list[str]) -> None:
    """
    Neither in the usual place nor where a flag names one; a command that is carried out makes it.
    """
    assert cli(*args, expect=None).exit_code in {2, 3, 5}
    assert cli(*args, "--store", "sqlite:new/x.db", expect=None).exit_code in {2, 3, 5, 6}
    assert not (tmp_path / "data").exists()
    assert list(cli.folder.iterdir()) == []
    cli("add", "One")
    assert len(cli.ids()) == 1
