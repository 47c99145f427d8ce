"""
Merging, splitting and explaining keys on the command line, on every durable backend.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.cli.conftest import REPORTS, Cli
from tests.stores import url_of


@pytest.fixture(params=["jsonl", "sqlite", "postgres"])
def kept(cli: Cli, request: pytest.FixtureRequest, tmp_path: Path) -> Cli:
    """
    A store with two problems, reported by key.
    """
    cli.env["BACKLOG_URL"] = url_of(request.param, request, tmp_path)
    drafts = [{"title": key, "dedupe_key": key, "service": "checkout", "source": "slo"} for key in ("slo:a", "slo:b")]
    Path("drafts.json").write_bytes(msgspec.json.encode(drafts))
    cli("report", "drafts.json")
    return cli


def _id(cli: Cli, key: str) -> str:
    id: str = cli.json("key", "explain", key)["item"]["id"]
    return id


def test_a_merge_and_a_split_hold_on_every_backend(kept: Cli) -> None:
    """Merge, undo, split, lift: each step does what it says, and the history explains it."""
    a, b = _id(kept, "slo:a"), _id(kept, "slo:b")
    shown = kept("merge", a, "--into", b, "--dry-run")
    assert "Nothing was written" in shown.stderr
    assert _id(kept, "slo:a") == a
    batch = kept.json("merge", a, "--into", b, "-m", "one cause")["batch"]
    assert _id(kept, "slo:a") == b
    counts = kept.json("report", "drafts.json")["counts"]
    assert (counts["created"], counts["reopened"]) == (0, 0)
    kept("verify")
    kept("undo", batch)
    assert _id(kept, "slo:a") == a
    kept("merge", a, "--into", b)
    told = kept("key", "explain", "slo:a").stdout
    assert "alias of   slo:b" in told
    assert f"held by {a} until then" in told
    kept("split", "slo:a", "-m", "two causes")
    assert "apart from slo:b" in kept("key", "explain", "slo:a").stdout
    assert "backlog split slo:a --lift" in kept("merge", a, "--into", b, expect=4).stderr
    assert kept.json("report", "drafts.json")["counts"]["reopened"] == 1
    kept("split", "slo:a", "--lift")
    kept("merge", a, "--into", b)
    kept("verify")


def test_what_was_done_under_a_token_is_done_once(kept: Cli) -> None:
    """Whoever is not sure that it came through applies the token: what is done is not done again."""
    a, b = _id(kept, "slo:a"), _id(kept, "slo:b")
    token = kept.json("merge", a, "--into", b, "--dry-run")["token"]
    batch = kept.json("merge", a, "--into", b, "--token", token)["batch"]
    assert kept.json("apply", token)["batch"] == batch
    kept("undo", batch)
    assert _id(kept, "slo:a") == a


def test_a_merge_and_a_split_do_what_was_shown_or_nothing(kept: Cli) -> None:
    """The token of a preview merges just as shown; once an item changed it is refused, naming the item."""
    a, b = _id(kept, "slo:a"), _id(kept, "slo:b")
    token = kept.json("merge", a, "--into", b, "--dry-run")["token"]
    kept("edit", b, "-p", "P0")
    refused = kept("merge", a, "--into", b, "--token", token, expect=5).stderr
    assert f"{b}: was updated (revision 2), is now updated (revision 3)" in refused
    assert _id(kept, "slo:a") == a
    token = kept.json("merge", a, "--into", b, "--dry-run")["token"]
    kept("merge", a, "--into", b, "--token", token)
    assert _id(kept, "slo:a") == b
    token = kept.json("split", "slo:a", "--dry-run")["token"]
    kept("split", "slo:a", "--token", token)
    assert _id(kept, "slo:a") == a


def test_the_keys_of_a_report_are_explained_before_it_is_taken_in(cli: Cli) -> None:
    """Each finding's key is told with the inputs that made it, and nothing is written."""
    report = next(REPORTS.rglob("ruff*.sarif"))
    told = cli.json("key", "explain", "--report", str(report), "--service", "checkout")
    assert told
    assert all(one["kind"] == "sarif" and one["version"] == 1 and one["inputs"]["rule"] for one in told)
    assert cli.ids() == []


def test_what_is_no_key_and_no_item_is_said_so(cli: Cli) -> None:
    """A name that nobody knows is not found, with the place where items are listed."""
    cli.add("by hand")
    assert "backlog list" in cli("key", "explain", "slo:none", expect=3).stderr
    cli("key", "explain", expect=2)


def test_gitlab_558131_keys_that_would_split_an_identity_are_told_or_refused(cli: Cli) -> None:
    """A key with a line number is told when it is reported, refused if asked, and found in the store afterwards."""
    drafts = [{"title": "x", "dedupe_key": "app.py:12"}, {"title": "y", "dedupe_key": "fine"}]
    Path("d.json").write_bytes(msgspec.json.encode(drafts))
    refused = cli.json("report", "d.json", "--strict-keys", "--dry-run", expect=1)
    assert [(one["pointer"], "line number" in one["reason"]) for one in refused["refused"]] == [("/0", True)]
    told = cli.json("report", "d.json")
    assert ["line number" in notice["reason"] for notice in told["notices"]] == [True]
    assert told["counts"]["created"] == 2
    assert [one["key"] for one in cli.json("key", "lint", expect=1)] == ["app.py:12"]


def test_defectdojo_9895_a_new_key_rule_churns_nothing(kept: Cli) -> None:
    """Rewritten with a preview, keys keep items and decisions under both names; what collides is told first."""
    a, b = _id(kept, "slo:a"), _id(kept, "slo:b")
    kept("close", a, "--reason", "wont_fix", "-m", "never")
    told = kept("key", "rewrite", "--from", "^slo:.*", "--to", "slo", "--yes", expect=5).stderr
    assert a in told
    assert b in told
    token = kept.json("key", "rewrite", "--from", "^slo:", "--to", "slo:v2:", "--dry-run")["token"]
    assert _id(kept, "slo:a") == a
    kept("key", "rewrite", "--from", "^slo:", "--to", "slo:v2:", "--yes", "--token", token)
    for key in ("slo:a", "slo:v2:a"):
        explained = kept.json("key", "explain", key)
        assert (explained["item"]["id"], explained["verdict"]["reason"]) == (a, "wont_fix")
    counts = kept.json("report", "drafts.json")["counts"]
    assert (counts["created"], counts["reopened"], counts["suppressed"], counts["unchanged"]) == (0, 0, 1, 1)
    kept("verify")
    kept("undo", "--last")
    for key in ("slo:a", "slo:v2:a"):
        explained = kept.json("key", "explain", key)
        assert (explained["item"]["id"], explained["verdict"]["reason"]) == (a, "wont_fix")
    assert kept.json("show", b)["dedupe_key"] == "slo:b"
    counts = kept.json("report", "drafts.json")["counts"]
    assert (counts["created"], counts["reopened"], counts["suppressed"], counts["unchanged"]) == (0, 0, 1, 1)
    kept("verify")


def test_keys_are_rewritten_by_a_map(kept: Cli) -> None:
    """A file that names old and new keys renames just those; taking it back is refused once a key was cut off."""
    a, b = _id(kept, "slo:a"), _id(kept, "slo:b")
    Path("map.json").write_text('{"slo:a": "one", "slo:x": "two"}')
    batch = kept.json("key", "rewrite", "--map", "map.json", "--yes")["batch"]
    assert [kept.json("show", id)["dedupe_key"] for id in (a, b)] == ["one", "slo:b"]
    kept("split", "slo:a")
    kept("report", "drafts.json")
    assert "was changed meanwhile" in kept("undo", batch, expect=1).stderr
    assert kept.json("show", a)["dedupe_key"] == "one"
    Path("map.json").write_text('["slo:a"]')
    assert "no JSON object of keys" in kept("key", "rewrite", "--map", "map.json", "--yes", expect=2).stderr
    kept("verify")


def test_findings_go_along_with_a_file_that_moved(cli: Cli) -> None:
    """Told which folder moved, the items of its findings have the keys that their next reports bring."""
    report = (REPORTS / "ruff.sarif").read_text()
    cli("report", "-", "--service", "shop", input=report.encode())
    before = set(cli.ids())
    token = cli.json("key", "rewrite", "--moved", "app/=src/", "--dry-run")["token"]
    cli("key", "rewrite", "--moved", "app/=src/", "--token", token)
    Path("moved.sarif").write_text(report.replace("app/", "src/"))
    counts = cli.json("report", "moved.sarif", "--service", "shop")["counts"]
    assert counts["created"] == 0
    assert set(cli.ids()) == before
    assert "two folders" in cli("key", "rewrite", "--moved", "app/=src", "--yes", expect=2).stderr
