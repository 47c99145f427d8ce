"""
Export, import, migrate and verify between file backends: nothing is lost, and what is faulty writes nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from backlog_store import open_backlog
from backlog_store.codec import encode
from backlog_store.compat import JsonlBacklogStore
from backlog_store.exportfile import LineDigest
from backlog_store.legacy.report import notes
from tests.cli.conftest import REPORTS, Cli


@pytest.fixture
def full(cli: Cli) -> Cli:
    """
    A store with reports, edits, links, verdicts and a view.
    """
    for name in ("ruff.sarif", "trivy.json"):
        for _ in range(2):
            cli("report", str(REPORTS / name), "--service", "shop")
    one, two, three, *_ = cli.ids()
    cli("close", one, "--reason", "wont_fix")
    cli("link", two, "blocks", three)
    cli("edit", two, "--priority", "P3")
    cli("cleanup", "--older-than", "0", "--yes")
    cli("view", "save", "mine", "owner:@me")
    return cli


def test_export_and_import_are_lossless(full: Cli, tmp_path: Path) -> None:
    """
    An export taken in elsewhere exports as the same bytes, and its history proves itself.
    """
    first, second = tmp_path / "a.ndjson", tmp_path / "b.ndjson"
    full("export", str(first))
    full("--store", "jsonl:other", "import", str(first))
    full("--store", "jsonl:other", "export", str(second))

    assert first.read_bytes() == second.read_bytes()
    assert full.json("--store", "jsonl:other", "verify")["ok"]
    assert full.json("--store", "jsonl:other", "import", str(first))["items"] == 0


def test_an_import_does_what_was_shown_or_nothing(full: Cli, tmp_path: Path) -> None:
    """
    The token of a preview imports just as shown, also where it was interrupted; what differs by now is told, and stays.
    """
    file = tmp_path / "a.ndjson"
    full("export", str(file))
    there = ("--store", "sqlite:there.db")
    shown = full.json(*there, "import", str(file), "--dry-run")
    assert not Path("there.db").exists()
    assert shown["items"] == len(full.ids("--all"))
    # The same item, made in between, needs not be made; another history of it is a difference.
    full(*there, "import", str(file), "--token", shown["token"])
    full(*there, "import", str(file), "--token", shown["token"])
    assert full.json(*there, "import", str(file))["items"] == 0
    again = full.json(*there, "import", str(file), "--dry-run")
    one = full.ids()[0]
    full(*there, "edit", one, "--title", "another one")
    refused = full(*there, "import", str(file), "--token", again["token"], expect=5).stderr
    assert f"{one}: was unchanged, is now refused" in refused


def test_another_file_is_not_imported_under_a_token(cli: Cli) -> None:
    """
    A file of the same ids and revisions, and of another content, is not the one that was shown.
    """
    for name in ("one", "other"):
        draft = {"id": "bl_same", "title": name, "source": "s", "dedupe_key": "k"}
        here = ("--store", f"sqlite:{name}.db")
        cli(*here, "report", "-", "--format", "ndjson", input=json.dumps(draft))
        cli(*here, "export", f"{name}.ndjson")
    there = ("--store", "sqlite:there.db", "import")
    token = cli.json(*there, "one.ndjson", "--dry-run")["token"]
    assert "the file is another one" in cli(*there, "other.ndjson", "--token", token, expect=5).stderr
    assert not (cli.folder / "there.db").exists()
    cli(*there, "one.ndjson", "--token", token)


def test_migrate_copies_and_says_what_is_still_in_use(full: Cli, tmp_path: Path) -> None:
    """
    There and back again is byte-equal; the store in use stays the old one.
    """
    full("migrate", "--to", "jsonl:there")
    full("migrate", "--from", "jsonl:there", "--to", "sqlite:back.db")
    files = [tmp_path / "a.ndjson", tmp_path / "b.ndjson"]
    full("export", str(files[0]))
    full("--store", "sqlite:back.db", "export", str(files[1]))

    assert files[0].read_bytes() == files[1].read_bytes()
    assert "name another one" in full("--store", "jsonl:there", "migrate", "--to", "jsonl://there", expect=2).stderr


def test_export_to_stdout_is_data_alone(full: Cli, tmp_path: Path) -> None:
    """
    What is told goes to stderr, so a pipe gets the export and nothing else.
    """
    full("export", str(tmp_path / "a.ndjson"))

    assert full("export").stdout_bytes == (tmp_path / "a.ndjson").read_bytes()


def test_a_file_is_written_over_only_when_told(full: Cli, tmp_path: Path) -> None:
    """
    A file that is there stays as it is without --force; no partial file is left.
    """
    file = tmp_path / "out" / "a.ndjson"
    file.parent.mkdir()
    file.write_text("mine", encoding="utf-8")
    full("export", str(file), expect=2)
    assert file.read_text(encoding="utf-8") == "mine"
    full("export", str(file), "--force")
    assert file.read_bytes().startswith(b'{"format"')
    assert list(file.parent.iterdir()) == [file]


def _export(cli: Cli) -> list[bytes]:
    return cli("export").stdout_bytes.splitlines(keepends=True)


def _sealed(lines: list[bytes]) -> bytes:
    """
    Give lines the trailer that fits them, as somebody would who changes an export and wants it to be taken.
    """
    digest = LineDigest()
    for line in lines:
        digest.add(line)
    counts = {f"{kind}s": sum(line.startswith(b'{"%s"' % kind.encode()) for line in lines)
              for kind in ("item", "event", "record")}  # fmt: skip
    return b"".join(lines) + encode({"end": {**counts, "digest": digest.text()}}) + b"\n"


def _at(lines: list[bytes], start: bytes, nth: int = 0) -> int:
    return [number for number, line in enumerate(lines) if line.startswith(start)][nth]


@pytest.mark.parametrize("damage", ["cut", "garbled", "foreign", "empty", "dropped view", "changed view", "behind"])
def test_a_faulty_export_makes_no_store(full: Cli, damage: str) -> None:
    """
    A cut, garbled, foreign or changed file is refused with the line, before there is a store.
    """
    lines = _export(full)
    view = _at(lines, b'{"record":{"kind":"view"')
    faulty = {
        "cut": lines[:-1],
        "garbled": [*lines[:3], b"{]\n", *lines[3:]],
        "foreign": [b'{"title": "x"}\n'],
        "empty": [],
        "dropped view": [*lines[:view], *lines[view + 1 :]],
        "changed view": [line.replace(b"owner:", b"title:") for line in lines],
        "behind": [*lines, lines[1]],
    }
    result = full("--store", "sqlite:new.db", "import", "-", input=b"".join(faulty[damage]), expect=2)

    place = {"garbled": 4, "foreign": 1, "empty": 1, "cut": len(lines) - 1, "dropped view": len(lines) - 1,
             "changed view": len(lines), "behind": len(lines) + 1}  # fmt: skip
    assert f"/line/{place[damage]}" in result.stderr
    assert result.stderr.count("/line/") == 1
    assert not (full.folder / "new.db").exists()


@pytest.mark.parametrize(
    ("start", "old", "new", "told"),
    [
        (b'{"item"', b'"service":"shop"', b'"service":"x"', "do not explain: service"),
        (b'{"item"', b'"title":"', b'"title":"x', "do not explain: title"),
        (b'{"event"', b'"actor":"', b'"actor":"x', "was changed after it was written"),
        (b'{"item"', b'"status":"open"', b'"status":"wip"', "none of"),
        (b'{"item"', b'"revision":1', b'"revision":9223372036854775808', "is not from 1"),
        (b'{"item"', b'"title":"', b'"title":"\\u0000', "NUL"),
        (b'{"item"', b'"title":"', b'"title":5,"x":"', "str"),
    ],
)  # fmt: skip
def test_a_changed_export_is_refused_by_line_and_item(
    cli: Cli, start: bytes, old: bytes, new: bytes, told: str
) -> None:
    """
    A trailer made to fit does not help: an item is held against its events, they against their hashes.
    """
    cli("report", str(REPORTS / "ruff.sarif"), "--service", "shop")
    lines = _export(cli)[:-1]
    number = _at(lines, start)
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new, 1)
    result = cli("--store", "sqlite:new.db", "import", "-", input=_sealed(lines), expect=2)

    assert told in result.stderr
    assert f"/line/{2 if told.startswith(('was', 'do')) else number + 1}" in result.stderr
    assert "Nothing was written" in result.stderr
    assert not (cli.folder / "new.db").exists()


@pytest.mark.parametrize("disorder", ["foreign event", "sighting of a record", "event of a record", "item last",
                                      "item twice", "no events", "event twice", "foreign sighting"])  # fmt: skip
def test_a_line_that_does_not_belong_to_the_one_above_is_refused(full: Cli, disorder: str) -> None:
    """
    Events and sightings stand below their own item, items by id, records behind them; else the line is named.
    """
    lines = _export(full)[:-1]
    item, second = _at(lines, b'{"item"'), _at(lines, b'{"item"', 1)
    event, view = lines[item + 1], _at(lines, b'{"record":{"kind":"view"')
    sighting = next(line for line in lines if line.startswith(b'{"record":{"kind":"sighting"'))
    changed, place = {
        "foreign event": ([*lines[: second + 1], event, *lines[second + 1 :]], second + 2),
        "sighting of a record": ([*lines, sighting], len(lines) + 1),
        "event of a record": ([*lines[: view + 1], event, *lines[view + 1 :]], view + 2),
        "item last": ([*lines[:item], *lines[second:], *lines[item:second]], len(lines) - (second - item) + 1),
        "item twice": ([*lines[:second], *lines[item:]], second + 1),
        "no events": ([*lines[: item + 1], *lines[second:]], item + 1),
        "event twice": ([*lines[: item + 2], event, *lines[item + 2 :]], item + 1),
        "foreign sighting": ([*lines[: item + 2], lines[second - 1], sighting.replace(b'"bl_', b'"bl_x'),
                              *lines[second:]], item + 4),
    }[disorder]  # fmt: skip
    result = full("--store", "sqlite:new.db", "import", "-", input=_sealed(changed), expect=2)

    assert f"/line/{place} " in result.stderr
    assert not (full.folder / "new.db").exists()


def test_line_ends_and_byte_order_marks_do_not_matter(full: Cli) -> None:
    """
    A file that went through a program of another system is still what was exported.
    """
    content = full("export").stdout_bytes
    moved = b"\xef\xbb\xbf" + content.rstrip(b"\n").replace(b"\n", b"\r\n")
    full("--store", "sqlite:new.db", "import", "-", input=moved)

    assert full("--store", "sqlite:new.db", "export").stdout_bytes == content


@pytest.mark.parametrize(("content", "told"), [(b"\x1f\x8b\x08", "gzip -dc"), ("{}".encode("utf-16"), "UTF-16"),
                                               (b"\x00\xff" * 99, "not an export")])  # fmt: skip
def test_what_must_be_unpacked_first_says_how(cli: Cli, content: bytes, told: str) -> None:
    """
    A packed or converted export is named as what it is.
    """
    assert told in cli("import", "-", input=content, expect=2).stderr


def test_a_folder_or_missing_file_is_wrong_usage(full: Cli) -> None:
    """
    What cannot be read or written says so with what was typed and what to do, and leaves nothing behind.
    """
    (full.folder / "here").mkdir()
    for command, file, told in (
        ("import", "here", "here is a folder"),
        ("import", "nosuch", "no file nosuch"),
        ("import", "--legacy .", ". is a folder"),
        ("export", "here", "here is a folder"),
        ("export", "nosuch/a", "no folder nosuch"),
        ("export", "here/a" + "x" * 300, "cannot be written"),
    ):
        stderr = full(command, *file.split(), expect=2).stderr
        assert told in stderr
        assert ".part" not in stderr
    assert [path.name for path in full.folder.iterdir()] == ["here"]
    assert list((full.folder / "here").iterdir()) == []


def test_a_pipe_gets_the_export_and_stays(full: Cli) -> None:
    """
    What is no file is written to, not replaced.
    """
    content = full("export").stdout_bytes
    pipe = full.folder / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    full("export", str(pipe))
    reader.join()

    assert read == [content]
    assert pipe.is_fifo()


def test_what_is_judged_differently_there_is_told(full: Cli) -> None:
    """
    A view that is there and says something else stays, and the one that was not taken in is named.
    """
    content = full("export").stdout_bytes
    full("view", "save", "mine", "owner:bo")
    told = full("import", "-", input=content, expect=1)

    assert "view" in told.stderr
    assert "mine" in told.stderr
    assert "owner:bo" in full("view", "list").stdout


def test_a_store_whose_history_does_not_hold_is_not_copied(cli: Cli) -> None:
    """
    A row that was changed behind the store's back is named; there is no second store with it.
    """
    id = cli.add("one", "--store", "sqlite:one.db")
    with closing(sqlite3.connect(cli.folder / "one.db")) as database, database:
        database.execute("UPDATE events SET doc = CAST(replace(CAST(doc AS TEXT), 'ana', 'bob') AS BLOB)")
    told = cli("--store", "sqlite:one.db", "migrate", "--to", "jsonl:two", expect=6).stderr

    assert id in told
    assert "backlog verify" in told
    assert not (cli.folder / "two").exists()


def test_what_was_told_about_old_files_travels(cli: Cli, tmp_path: Path) -> None:
    """
    Notes about what was mapped when the original module's files were taken in are there in the copy, too.
    """
    items = tmp_path / "items.jsonl"
    items.write_text('{"id": "bl_0123456789ab", "title": "Old", "status": "wip"}\n', encoding="utf-8")
    old = JsonlBacklogStore(items, tmp_path / "events.jsonl")
    told = old.legacy_notes()
    old.backlog.close()
    cli("--store", f"jsonl:{items}.journal", "migrate", "--to", "sqlite:new.db")
    with closing(open_backlog("sqlite:new.db")) as copy:
        copied = copy.read(lambda reader: [str(note) for note in notes(reader)])

    assert "wip" in "".join(told)
    assert copied == told


def test_files_of_the_original_module_are_imported(cli: Cli, tmp_path: Path) -> None:
    """
    ``import --legacy`` takes the items and events of the original module in, torn line and all.
    """
    items = tmp_path / "items.jsonl"
    items.write_text('{"id": "bl_0123456789ab", "title": "Old", "status": "open", "dedupe_key": "k"}\n{"id": "bl_',
                     encoding="utf-8")  # fmt: skip
    events = (
        '{"id": "ev_1", "item_id": "bl_0123456789ab", "ts": "2026-01-01T00:00:00Z", "message": "said", "actor": "bo"}\n'
    )
    items.with_name("events.jsonl").write_text(events, encoding="utf-8")
    told = cli("import", "--legacy", str(items))

    assert "Taken in" in told.stdout
    assert cli.json("show", "bl_0123456789ab")["title"] == "Old"
    assert "said" in [event.get("message") for event in cli.json("log", "bl_0123456789ab")]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """
    Files of the original module: 410 items, so more than one transaction, two of them of one key, and an event.
    """
    items = tmp_path / "items.jsonl"
    rows = [{"id": f"bl_{n:012}", "title": f"Old {n}", "created_at": f"2025-01-01T00:{n // 60:02}:{n % 60:02}Z",
             "updated_at": "2025-01-02T00:00:00Z", "dedupe_key": f"k{n % 409}"} for n in range(410)]  # fmt: skip
    items.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    event = {"id": "ev_1", "item_id": "bl_000000000001", "ts": "2026-01-01T00:00:00Z", "message": "said", "actor": "bo"}
    items.with_name("events.jsonl").write_text(f"{json.dumps(event)}\n", encoding="utf-8")
    return items


def test_old_files_are_taken_in_just_as_shown(cli: Cli, old: Path) -> None:
    """
    The token of a preview takes in what it showed, and says what each key became; again it finds nothing to do.
    """
    shown = cli.json("import", "--legacy", str(old), "--dry-run")
    assert not list(cli.folder.iterdir())
    assert (409, 1, 1) == (shown["created"], shown["merged"], shown["events"])
    assert any("bl_000000000409 has the same key" in note["text"] for note in shown["notes"])
    done = cli.json("import", "--legacy", str(old), "--token", shown["token"])
    assert {name: value for name, value in shown.items() if name not in ("dry_run", "token")} == done
    again = cli.json("import", "--legacy", str(old), "--token", shown["token"])
    assert (0, 0, 0, 0) == tuple(again[name] for name in ("created", "changed", "merged", "events"))
    assert "--token" in cli("import", "--legacy", str(old), "-n").stderr
    assert cli.json("verify")["ok"]


def test_old_files_that_became_others_are_not_taken_in(cli: Cli, old: Path) -> None:
    """
    A line that was written after the preview, also one over a line of the same id, is not taken in under its token.
    """
    token = cli.json("import", "--legacy", str(old), "--dry-run")["token"]
    before = old.read_text()
    old.write_text(before.replace('Old 7"', 'Other 7"'))
    assert "the file is another one" in cli("import", "--legacy", str(old), "--token", token, expect=5).stderr
    old.write_text(before + '{"id": "bl_new", "title": "New"}\n')
    assert "the file is another one" in cli("import", "--legacy", str(old), "--token", token, expect=5).stderr
    assert not list(cli.folder.iterdir())
    old.write_text(before)
    cli("import", "--legacy", str(old), "--token", token)
    assert 409 == len(cli.ids("--limit", "0"))


def test_a_store_that_became_another_one_takes_no_old_files_in_as_shown(cli: Cli, old: Path) -> None:
    """
    A key that somebody has by now is told, and nothing is written; a token of nowhere is told to look again.
    """
    token = cli.json("import", "--legacy", str(old), "--dry-run")["token"]
    assert "Look again" in cli("import", "--legacy", str(old), "--token", "0" * 16, expect=5).stderr
    draft = {"title": "here first", "source": "s", "dedupe_key": "k7"}
    cli("report", "-", "--format", "ndjson", input=json.dumps(draft))
    (id,) = cli.ids()
    refused = cli("import", "--legacy", str(old), "--token", token, expect=5).stderr
    assert "nothing was written" in refused
    assert "bl_000000000007: was created (revision 1), is now merged (revision 2)" in refused
    assert [id] == cli.ids()


def test_an_interrupted_import_of_old_files_goes_on_under_its_token(cli: Cli, old: Path) -> None:
    """
    What was taken in before the interruption counts as done; what was changed here since is no departure.
    """
    rows = old.read_text().splitlines(keepends=True)
    old.with_name("part.jsonl").write_text("".join(rows[:200]))
    token = cli.json("import", "--legacy", str(old), "--dry-run")["token"]
    cli("import", "--legacy", str(old.with_name("part.jsonl")), str(old.with_name("events.jsonl")))
    cli("edit", "bl_000000000003", "--title", "changed here")
    cli("import", "--legacy", str(old), "--token", token)
    assert "changed here" == cli.json("show", "bl_000000000003")["title"]
    assert 409 == len(cli.ids("--limit", "0"))


def test_in_place_migration_wants_a_database(cli: Cli) -> None:
    """
    Without PostgreSQL there are no such tables, and the error says what to do instead.
    """
    assert "import --legacy" in cli("migrate", "--in-place", expect=2).stderr
    assert "--to URL" in cli("migrate", expect=2).stderr
    assert "keeps nothing" in cli("migrate", "--to", "memory://", expect=2).stderr


def test_the_doctor_tells_facts_and_problems(full: Cli) -> None:
    """
    A sound store is well; a damaged journal is a problem with its place, until it is repaired on request.
    """
    assert full.json("doctor")["ok"]
    full("migrate", "--to", "jsonl:there")
    for title in ("one", "two"):
        full("--store", "jsonl:there", "add", title)
    journal = next(path for path in (full.folder / "there").rglob("*") if path.is_file() and path.stat().st_size > 1000)
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 0xFF
    journal.write_bytes(data)
    broken = full.json("--store", "jsonl:there", "doctor", expect=6)
    assert "doctor --repair" in "".join(broken["problems"])
    assert "doctor --repair" in full("--store", "jsonl:there", "list", expect=6).stderr

    assert "Nobody can be asked" in full("--store", "jsonl:there", "doctor", "--repair", expect=2).stderr
    repaired = full.json("--store", "jsonl:there", "doctor", "--repair", "--yes")["repaired"]
    assert len(repaired["pieces"]) == 1
    full("--store", "jsonl:there", "list")
