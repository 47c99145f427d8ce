"""
Export, import, migrate and verify between file backends: nothing is lost, and what is faulty writes nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

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


@pytest.mark.parametrize("damage", ["cut", "garbled", "foreign", "empty"])
def test_a_faulty_export_writes_nothing(full: Cli, tmp_path: Path, damage: str) -> None:
    """
    A cut, garbled or foreign file is refused with the line, before anything is written.
    """
    file = tmp_path / "a.ndjson"
    full("export", str(file))
    lines = file.read_bytes().splitlines(keepends=True)
    faulty = {
        "cut": lines[:-1],
        "garbled": [*lines[:3], b"{]\n", *lines[3:]],
        "foreign": [b'{"title": "x"}\n'],
        "empty": [],
    }
    file.write_bytes(b"".join(faulty[damage]))
    result = full("--store", "sqlite:new.db", "import", str(file), expect=2)

    assert "/line/" in result.stderr
    assert full.json("--store", "sqlite:new.db", "list", "--all") == []


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


def test_in_place_migration_wants_a_database(cli: Cli) -> None:
    """
    Without PostgreSQL there are no such tables, and the error says what to do instead.
    """
    assert "import --legacy" in cli("migrate", "--in-place", expect=2).stderr
    assert "--to URL" in cli("migrate", expect=2).stderr


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
