"""
Verify, seal, backup, restore and repair as commands.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.fixture
def kept(cli: Cli) -> Cli:
    """
    A store in the working folder with three items.
    """
    cli.env["BACKLOG_URL"] = "sqlite:kept.db"
    for title in ("one", "two", "three"):
        cli.add(title)
    return cli


def rename(file: str) -> None:
    """
    Change a title behind the store's back.
    """
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE items SET doc = CAST(replace(CAST(doc AS TEXT), '\"two\"', '\"too\"') AS BLOB)")


def test_verify_exits_with_1_and_names_the_item(kept: Cli) -> None:
    """What the history does not explain is a fault, in words and in JSON."""
    assert "every one is explained" in kept("verify").stdout
    rename("kept.db")
    assert "title" in kept("verify", expect=1).stdout
    found = kept.json("verify", expect=1)
    assert not found["ok"]
    assert found["fault_count"] == len(found["faults"])


def test_a_seal_is_made_kept_and_held_against(kept: Cli) -> None:
    """The root is data, talk goes to stderr; a seal is not written over, nor made of a damaged store."""
    root = kept("verify", "--seal", "a.seal").stdout.split()[-1]
    assert len(root) == 64
    assert "there already" in kept("verify", "--seal", "a.seal", expect=2).stderr
    kept.add("four")
    assert "3 still there" in kept("verify", "--against", "a.seal", "--root", root).stdout
    against = kept.json("verify", "--against", "a.seal")["against"]
    assert (3, 0) == (against["kept"], against["fault_count"])
    assert "another root" in kept("verify", "--against", "a.seal", "--root", "0" * 64, expect=2).stderr
    assert "--against" in kept("verify", "--root", root, expect=2).stderr
    rename("kept.db")
    assert "Not sealed" in kept("verify", "--seal", "b.seal", expect=1).stderr
    assert not Path("b.seal").exists()


def test_backup_and_restore(kept: Cli) -> None:
    """There and back: the same store, or the same content in another kind; nothing is written over."""
    assert "proved to be whole" in kept("backup", "b.db").stdout
    assert "there already" in kept("backup", "b.db", expect=2).stderr
    assert kept.json("backup", "b.db", "--force", "--no-check")["checked"] is False
    assert Path("b.db").stat().st_mode & 0o777 == 0o600
    assert kept.json("restore", "b.db", "--to", "sqlite:c.db")["exact"]
    assert not kept.json("restore", "b.db", "--to", "jsonl:c")["exact"]
    assert "there already" in kept("restore", "b.db", "--to", "jsonl:c", expect=2).stderr
    exports = [kept("--store", url, "export").stdout_bytes for url in ("sqlite:kept.db", "sqlite:c.db", "jsonl:c")]
    assert exports[0] == exports[1] == exports[2]
    assert "gone at once" in kept("restore", "b.db", "--to", "memory://", expect=2).stderr


def test_a_damaged_store_gives_no_backup(kept: Cli) -> None:
    """What is not whole does not get the name of a backup, unless that is asked for."""
    rename("kept.db")
    assert "backlog verify" in kept("backup", "b.db", expect=6).stderr
    assert not Path("b.db").exists()
    kept("backup", "b.db", "--no-check")
    assert Path("b.db").exists()


def test_doctor_repairs_an_index_of_words(kept: Cli) -> None:
    """It asks first, then makes the index anew and says so."""
    kept("migrate", "--to", "sqlite:full.db")
    shutil.copy("full.db", "kept.db")
    with closing(sqlite3.connect("kept.db", isolation_level=None)) as connection:
        connection.execute("INSERT INTO item_words (rowid, words, terms) VALUES (99, 'nobody', '')")
    kept("verify", expect=1)
    assert "Nobody can be asked" in kept("doctor", "--repair", expect=2).stderr
    assert "made anew" in kept("doctor", "--repair", "--yes").stdout
    kept("verify")
