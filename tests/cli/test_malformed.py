"""
Malformed input of every kind, drawn by a seed: refused in words, by an exit code of the table, with nothing half done.

`TEST_MALFORMED` says how many inputs in all; the kinds share them.
"""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from click.testing import Result

from backlog_store import open_backlog
from backlog_store.backends.jsonl import open_jsonl, repair
from backlog_store.backends.jsonl.lines import effects_of, transaction_line
from backlog_store.backends.port import PutRecord
from backlog_store.backends.registry import open_backend
from backlog_store.backlog import Backlog
from backlog_store.backup import back_up, restore
from backlog_store.codec import encode
from backlog_store.errors import EXIT_CODES, BacklogError, InvalidQuery
from backlog_store.executors.failover.identity import make_identity
from backlog_store.intake import FORMATS
from backlog_store.querylang import FIELD_HELP, IS_HELP, parse_query
from backlog_store.testing.conformance.base import apply, record_of
from backlog_store.testing.contents import contents
from backlog_store.testing.samples import a_record
from backlog_store.transfer import write_export
from tests.cli.conftest import REPORTS, Cli
from tests.cli.mangling import HOSTILE, mangled, mangled_json, mangled_lines
from tests.crash.stored import fill, proof_of
from tests.outage.primaries import Switched, failover
from tests.sizes import MALFORMED, SEEDS

#: What share of the inputs each kind has, in hundredths.
SHARES = {
    "journals": 20,
    "spools": 8,
    "drafts": 16,
    "reports": 20,
    "queries": 20,
    "arguments": 10,
    "exports": 4,
    "backups": 2,
}
CODES = {0, *EXIT_CODES.values()}


def rounds(kind: str) -> Iterator[Random]:
    """
    Yield a source of randomness for each input of this kind.
    """
    for number in range(max(1, MALFORMED * SHARES[kind] // 100)):
        yield Random(f"{SEEDS.start} {kind} {number}")


def check_told(result: Result) -> None:
    """
    Check that a command ended as documented: with a code of the table, in words, without a traceback.
    """
    assert result.exit_code in CODES
    assert "Traceback" not in result.output
    assert "internal error" not in result.output
    assert result.exit_code == 0 or result.stderr.strip()


def test_the_shares_are_all_of_it() -> None:
    """Together the kinds have as many inputs as the size says."""
    assert sum(SHARES.values()) == 100


def test_journals(tmp_path: Path) -> None:
    """A mangled journal is one that ends earlier, or is refused as it stands, and can then be repaired."""
    folder = tmp_path / "store"
    store = open_jsonl(folder)
    states = [contents(store)]
    for number in range(8):
        apply(store, PutRecord(a_record(f"r{number}", text="x" * 40 * number)))
        states.append(contents(store))
    store.close()
    whole = (folder / "journal.jsonl").read_bytes()
    for random in rounds("journals"):
        shutil.rmtree(folder / "cut", ignore_errors=True)
        broken = mangled_lines(whole, random)
        (folder / "journal.jsonl").write_bytes(broken)
        try:
            store = open_jsonl(folder)
            found = contents(store)
        except BacklogError:
            assert (folder / "journal.jsonl").read_bytes() == broken
            if random.random() < 0.9:
                continue
            try:
                repair(folder)
            except BacklogError:  # of a newer version, say
                assert (folder / "journal.jsonl").read_bytes() == broken
                continue
            store = open_jsonl(folder)
            found = contents(store)
            assert set(found) <= set(states[-1])
        else:
            assert found in states, broken
        apply(store, PutRecord(a_record("after")))
        store.close()
        again = open_jsonl(folder)
        assert record_of(again, "view", "after") is not None
        assert again.check().ok
        again.close()


def test_spools(tmp_path: Path) -> None:
    """Whatever became of the spool's files, reports are accepted or recorded, and nothing breaks."""
    primary = Switched()
    backlog, executor, _ = failover(primary, tmp_path / "whole")
    store = executor.spools.primary
    primary.up = False
    for number in range(6):
        backlog.upsert(title=f"t{number}", dedupe_key=f"k{number}")
    executor.close()
    whole = (tmp_path / "whole" / "spool" / "journal.jsonl").read_bytes()
    for number, random in enumerate(rounds("spools")):
        place = tmp_path / str(number)
        (place / "spool").mkdir(parents=True, mode=0o700)
        broken = mangled_lines(whole, random) if random.random() < 0.5 else _with_strange_commands(whole, random)
        (place / "spool" / "journal.jsonl").write_bytes(broken)
        primary = Switched()
        primary.inner.write(lambda writer: make_identity(writer, store))
        primary.up = random.random() < 0.5
        try:
            backlog, executor, timer = failover(primary, place)
        except BacklogError:
            continue
        assert backlog.upsert(title="after", dedupe_key="after").verdict in {"accepted", "created"}
        primary.up = True
        for _ in range(4):
            timer.now += 60.0
            executor.step()
        executor.standing()
        executor.check()
        executor.close()
        shutil.rmtree(place)


def _with_strange_commands(whole: bytes, random: Random) -> bytes:
    """
    Return a journal that is sound as such, with accepted commands in it that are none: of another version, perhaps.
    """
    lines = whole.splitlines(keepends=True)
    for at, line in enumerate(lines[1:], 1):
        seq, effects = effects_of(line)
        changed = []
        for kind, body in effects:
            document = json.loads(body)
            if kind == b"record" and document["kind"] == "spool" and random.random() < 0.3:
                with suppress(UnicodeEncodeError, OverflowError):
                    strange = {**document, "body": mangled_json(document["body"], random)}
                    changed.append((kind, encode(strange)))
                    continue
            changed.append((kind, body))
        lines[at] = transaction_line(seq, changed)
    return b"".join(lines)


def test_drafts(cli: Cli) -> None:
    """A draft that is nearly one is taken in or refused by field; the store is whole afterwards."""
    draft = {"title": "t", "dedupe_key": "k", "service": "s", "priority": "P1", "tags": ["a"], "owner": "o",
             "due_date": "2026-12-01", "evidence_refs": {"a": ["b"]}, "meta": {"n": 1}, "source": "m", "env": "prod",
             "observed_at": "2026-11-24T00:00:00Z", "volatile": ["n"], "key_inputs": {"a": "b"}}  # fmt: skip
    backlog = open_backlog("sqlite://drafts.db?synchronous=NORMAL")
    backlog.close()
    batch: list[str] = []
    for random in rounds("drafts"):
        batch.append(json.dumps(mangled_json(draft, random)))
        if len(batch) == 8:
            check_told(cli("--store", "sqlite:drafts.db", "report", "-", "--format", "ndjson",
                           input="\n".join(batch), expect=None))  # fmt: skip
            batch = []
    cli("--store", "sqlite:drafts.db", "verify")


def test_reports(cli: Cli) -> None:
    """A mangled report of any format is taken in, in part with reasons, or refused whole: then the store stays."""
    files = sorted(file for file in REPORTS.iterdir() if file.name != "README.md")
    sources = {file: file.read_bytes() for file in files}
    names = [one.name for one in FORMATS]
    store = ("--store", "sqlite:reports.db")
    cli(*store, "report", str(files[0]), "--service", "shop")
    for random in rounds("reports"):
        file = random.choice(files)
        data = sources[file]
        if file.suffix != ".xml" and random.random() < 0.5:
            data = json.dumps(mangled_json(json.loads(data), random)).encode()
        else:
            data = mangled(data, random)
        named = ("--format", random.choice(names)) if random.random() < 0.2 else ()
        before = _fingerprint(cli.folder / "reports.db")
        result = cli(*store, "report", "-", "--service", "shop", *named, input=data, expect=None)
        check_told(result)
        if result.exit_code not in {0, 1}:
            assert _fingerprint(cli.folder / "reports.db") == before
    cli(*store, "verify")


def _fingerprint(file: Path) -> tuple[int, int, int]:
    connection = sqlite3.connect(file)
    try:
        found: tuple[int, int, int] = connection.execute(
            "SELECT (SELECT count(*) FROM items), (SELECT count(*) FROM events), (SELECT sum(n) FROM sightings)"
        ).fetchone()
        return found
    finally:
        connection.close()


def test_queries() -> None:
    """Any text is a query, or refused as one with the place of its fault."""
    pieces = [*(f"{name}:" for name in FIELD_HELP), *IS_HELP, *HOSTILE, *'()"-*<>=,:. ', " OR ", " AND ", "..", "7d"]
    for random in rounds("queries"):
        text = "".join(random.choices(pieces, k=random.randint(1, 12)))
        place = 0
        try:
            parse_query(text, now="2026-11-24T12:00:00.000000Z", me="ana")
        except InvalidQuery as error:
            place = error.offset
        assert 0 <= place <= len(text)


def test_arguments(cli: Cli) -> None:
    """Any words and options after any command end with a code of the table; what is refused makes no store."""
    commands = ["list", "search", "show", "log", "dashboard", "stats", "view", "edit", "move", "close", "reopen",
                "snooze", "accept", "assign", "tag", "comment", "link", "batch", "undo", "cleanup", "verdict", "verify",
                "spool", "config", "schema", "add"]  # fmt: skip
    options = ["--json", "--limit", "--query", "--sort", "--after", "--by", "--fields", "--since", "--until", "--due",
               "--priority", "--reason", "--meta", "--tag", "--owner", "--yes", "--dry-run", "--env", "--format", "get",
               "set", "list", "save", "drain", "explain", "lift", "-m", "-o", "--actor", "--revision",
               "--help"]  # fmt: skip
    for random in rounds("arguments"):
        words = random.choices([*options, *options, *HOSTILE, "x"], k=random.randint(0, 5))
        store = random.choice(["memory://", "null://", "sqlite:made.db", "jsonl:made"])
        args = [random.choice(commands), *(word for word in words if "\0" not in word)]
        result = cli("--store", store, "--no-input", *args, expect=None)
        check_told(result)
        if result.exit_code == 2:
            assert not (cli.folder / "made").exists(), args
            assert not (cli.folder / "made.db").exists(), args
        shutil.rmtree(cli.folder / "made", ignore_errors=True)
        for file in cli.folder.glob("made.db*"):
            file.unlink()


def test_exports(cli: Cli) -> None:
    """A mangled export makes a store that is whole, or none."""
    fill("sqlite://whole.db", count=12)
    backlog: Backlog = open_backlog("sqlite://whole.db")
    sink = io.BytesIO()
    backlog.read(lambda reader: write_export(reader, sink))
    backlog.close()
    for random in rounds("exports"):
        Path("export.ndjson").write_bytes(mangled_lines(sink.getvalue(), random))
        result = cli("--store", "jsonl:made", "import", "export.ndjson", expect=None)
        check_told(result)
        if result.exit_code == 0:
            assert not proof_of("jsonl://made").fault_count
        else:
            assert not Path("made").exists()
        shutil.rmtree("made", ignore_errors=True)


@pytest.mark.parametrize("scheme", ["jsonl", "sqlite"])
def test_backups(tmp_path: Path, scheme: str) -> None:
    """A mangled backup makes a store that is whole, or none."""
    whole, made = f"{scheme}://{tmp_path}/whole", f"{scheme}://{tmp_path}/made"
    fill(whole, count=12)
    backend = open_backend(whole)
    back_up(backend, tmp_path / "whole.backup")
    backend.close()
    data = (tmp_path / "whole.backup").read_bytes()
    for random in rounds("backups"):
        (tmp_path / "broken.backup").write_bytes(mangled(data, random))
        try:
            restore(tmp_path / "broken.backup", made)
        except BacklogError:
            assert not (tmp_path / "made").exists()
        else:
            assert not proof_of(made).fault_count
            shutil.rmtree(tmp_path / "made") if scheme == "jsonl" else (tmp_path / "made").unlink()
