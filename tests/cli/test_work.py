"""
The commands that change items: one, several, by query; asking first; setting back.
"""

from __future__ import annotations

import pytest

from tests.cli.conftest import REPORTS, Cli


def test_an_item_is_added_with_all_its_fields(cli: Cli) -> None:
    """
    Each option fills its field; days may be relative, meta may be JSON.
    """
    id = cli.add("Rotate keys", "-p", "p1", "-s", "auth", "--category", "security", "-o", "@me", "--due", "2027-01-31",
                 "--env", "staging", "--key", "keys", "--fix-name", "hsm", "-t", "b", "-t", "a", "--meta", "n=3",
                 "--meta", "who=bo", "-d", "words")  # fmt: skip
    item = cli.json("show", id)

    expected = {"title": "Rotate keys", "priority": "P1", "service": "auth", "category": "security", "owner": "ana",
                "due_date": "2027-01-31", "env": "staging", "dedupe_key": "keys", "fix": "hsm", "tags": ["a", "b"],
                "meta": {"n": 3, "who": "bo"}, "description": "words"}  # fmt: skip
    assert expected == {name: item[name] for name in expected}
    assert "taken" in cli("add", "again", "--key", "keys", "--env", "staging", expect=5).stderr


def test_the_life_of_an_item(cli: Cli) -> None:
    """
    Moving, closing, reopening, snoozing, accepting: each is possible where the workflow has it.
    """
    id = cli.add("one")
    steps: list[tuple[list[str], str]] = [
        (["move", id, "in_progress"], "in_progress"), (["close", id, "-m", "done"], "done"),
        (["reopen", id, "-m", "again"], "open"), (["snooze", id, "+3d"], "snoozed"), (["snooze", id, "now"], "open"),
        (["accept", id, "--until", "+30d", "--by", "bo"], "canceled"), (["undo"], "open"),
        (["close", id, "--reason", "wont_fix"], "canceled"),
    ]  # fmt: skip
    for args, status in steps:
        cli(*args)
        assert status == cli.json("show", id)["effective_status"], args


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["move", "ID", "done"], 4, "Allowed from open: blocked, canceled, in_progress"),
        (["move", "ID"], 2, "Which items, and which status?"),
        (["move", "ID", "inprogress"], 2, "Did you mean in_progress?"),
        (["close", "ID", "--reason", "wontfix"], 2, "Did you mean wont_fix?"),
        (["close", "ID", "--reason", "accepted_risk"], 2, "backlog accept"),
        (["close", "ID", "--reason", "duplicate"], 2, "go together"),
        (["reopen", "ID", "-m", "x"], 4, "cannot move from open"),
        (["snooze", "ID", "yesterday"], 2, "lies in the past"),
        (["snooze", "ID", "frday"], 2, "not a day or time"),
        (["accept", "ID", "--until", "+9y", "--by", "bo"], 2, "at most 366 days"),
        (["edit", "ID"], 2, "What is to change?"),
        (["edit", "ID", "--due", "2026-02-30"], 2, "there is no day 2026-02-30"),
        (["edit", "ID", "--priority", "P0", "--if-revision", "7"], 5, "revision 7 was expected, 1 is stored"),
        (["edit", "ID", "--release", "prio"], 2, "priority"),
        (["tag", "ID"], 2, "Which tags?"),
        (["assign", "ID"], 2, "Which items, and which owner?"),
        (["comment", "ID"], 2, "What is the comment?"),
        (["link", "ID", "blocks", "ID"], 2, "linked with itself"),
        (["close", "nosuch"], 3, "no item 'nosuch'"),
        (["close"], 2, "Which items?"),
        (["close", "ID", "--query", "x"], 2, "not both"),
        (["undo", "cm_nosuch"], 3, "backlog batch"),
        (["add", ""], 2, "must not be empty"),
        (["add", "x", "--key", "a\ud800b"], 2, "Argument 4, 'a\\ud800b', is not UTF-8"),
        (["add", "x" * 1001], 2, "at most 1000"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(cli: Cli, args: list[str], code: int, told: str) -> None:
    """
    The exit code says of what kind it is, the words what to do; nothing is changed.
    """
    id = cli.add("one")
    result = cli(*[id if arg == "ID" else arg for arg in args], expect=code)

    assert told in result.stderr
    assert cli.json("show", id)["revision"] == 1
    assert len(cli.ids("--all")) == 1


def test_a_described_set_is_shown_and_needs_a_yes(cli: Cli) -> None:
    """
    Without --yes nobody can be asked here: the preview is shown, nothing is written.
    """
    ids = {cli.add(f"web {number}", "-s", "web") for number in range(3)}
    other = cli.add("api", "-s", "api")
    refused = cli("edit", "--query", "service:web", "--priority", "P0", expect=2)
    assert "priority P2 → P0" in refused.stderr
    assert "--yes" in refused.stderr
    assert cli.ids("priority:P0") == []

    answer = cli.json("edit", "--query", "service:web", "--priority", "P0", "--yes")
    assert (answer["counts"], set(cli.ids("priority:P0"))) == ({"updated": 3}, ids)
    assert cli.json("show", other)["revision"] == 1


def test_a_preview_token_holds_the_set(cli: Cli) -> None:
    """
    What came or changed since the preview makes the bulk edit fail, whole.
    """
    first = cli.add("web 1", "-s", "web")
    token = cli.json("close", "--query", "service:web", "--dry-run")["token"]
    assert cli.ids() == [first]

    cli.add("web 2", "-s", "web")
    refused = cli("close", "--query", "service:web", "--yes", "--token", token, expect=5).stderr
    assert "is not what would be done now" in refused
    token = cli.json("close", "--query", "service:web", "--dry-run")["token"]
    cli("close", "--query", "service:web", "--yes", "--token", token)
    assert cli.ids() == []


def test_an_undo_does_what_was_shown_or_nothing(cli: Cli) -> None:
    """
    A batch is set back under the token of a preview; once one of its items was changed, nothing of it is.
    """
    ids = [cli.add(f"web {number}", "-s", "web") for number in range(3)]
    batch = cli.json("edit", "--query", "service:web", "--priority", "P0", "--yes")["batch"]
    token = cli.json("undo", batch, "--dry-run")["token"]
    cli("edit", ids[1], "--title", "another one")
    refused = cli("undo", batch, "--token", token, expect=5).stderr
    assert f"{ids[1]}: was updated (revision 3), is now refused" in refused
    assert set(cli.ids("priority:P0")) == set(ids)
    cli("undo", "--last")
    token = cli.json("undo", batch, "--dry-run")["token"]
    cli("undo", batch, "--token", token)
    assert cli.ids("priority:P0") == []


def test_several_at_once_go_on_past_what_is_refused(cli: Cli) -> None:
    """
    What the workflow refuses is told, the rest is done, and the exit code is 1.
    """
    done, open_ = cli.add("done"), cli.add("open")
    cli("close", done)
    result = cli("close", done, open_, expect=1)

    assert "cannot move from done" in result.stderr
    assert cli.ids() == []


def test_undo_goes_back_batch_by_batch(cli: Cli) -> None:
    """
    Each `undo` sets back one batch of this actor more; a batch can be named by its beginning.
    """
    ids = [cli.add(f"item {number}") for number in range(3)]
    cli("edit", *ids, "--priority", "P1")
    batch = cli.json("edit", "--query", "item", "--priority", "P0", "--yes")["batch"]

    cli("undo", "--dry-run")
    assert len(cli.ids("priority:P0")) == 3
    cli("undo", batch[:11])
    assert len(cli.ids("priority:P1")) == 3
    cli("undo")
    assert len(cli.ids("priority:P2")) == 3
    assert "bo has nothing to undo" in cli("--actor", "bo", "undo", expect=5).stderr


def test_undo_leaves_what_others_changed_since(cli: Cli) -> None:
    """
    The refusal says why, and the exit code is 1.
    """
    id = cli.add("one")
    cli("assign", id, "bo")
    cli("--actor", "eve", "edit", id, "--priority", "P0")

    assert "was changed meanwhile" in cli("undo", expect=1).stderr
    assert cli.json("show", id)["owner"] == "bo"


def test_a_machine_leaves_what_a_person_holds(cli: Cli) -> None:
    """
    ``--as-machine`` and its variable act as a machine, which may not touch what a person set.
    """
    id = cli.add("one")
    cli("edit", id, "--priority", "P0")

    assert "ana holds it" in cli("--as-machine", "edit", id, "--priority", "P3", expect=4).stderr
    cli.env["BACKLOG_ACTOR_KIND"] = "machine"
    assert "ana holds it" in cli("edit", id, "--priority", "P3", expect=4).stderr


def test_tags_are_added_and_removed_with_signs(cli: Cli) -> None:
    """
    ``+tag`` adds, ``-tag`` removes, also beside options.
    """
    id = cli.add("one", "-t", "slow")
    cli("tag", id, "+flaky", "-slow", "-m", "+not -a tag")

    assert cli.json("show", id)["tags"] == ["flaky"]
    assert cli.json("log", id)[0]["message"] == "+not -a tag"


def test_several_ids_and_options_in_any_place(cli: Cli) -> None:
    """
    Global options stand before or behind the command, ids before the last word.
    """
    one, two = cli.add("one"), cli.add("two")
    cli("assign", one[:10], two, "@me", "--actor", "bo")

    assert set(cli.ids("owner:bo")) == {one, two}


def test_comments_and_descriptions_come_from_stdin(cli: Cli) -> None:
    """
    A dash is stdin.
    """
    id = cli.add("one")
    cli("comment", id, "-", input="from a pipe\n")
    cli("edit", id, "-d", "-", input="# long\ntext\n")

    assert [event["message"] for event in cli.json("log", id, "--type", "comment")] == ["from a pipe"]
    assert cli.json("show", id)["description"] == "# long\ntext\n"


def test_links_make_no_cycle(cli: Cli) -> None:
    """
    A link is seen from both ends, a cycle refused, a removed link gone.
    """
    one, two = cli.add("one"), cli.add("two")
    cli("link", one, "blocks", two)

    assert "blocked by" in cli("show", two).stdout
    assert "cycle" in cli("link", two, "blocks", one, expect=4).stderr
    cli("link", one, "blocks", two, "--remove")
    assert cli.json("show", two)["links"] == []


def test_writes_answer_with_the_fields_asked_for(cli: Cli) -> None:
    """
    ``--json --fields`` gives what a script needs of the changed item.
    """
    id = cli.add("one")
    answer = cli.json("edit", id, "--priority", "P0", "--fields", "title,priority")

    assert answer["outcomes"] == [
        {"verdict": "updated", "id": id, "revision": 2, "item": {"title": "one", "priority": "P0"}}
    ]


def test_cleanup_asks_and_keeps_what_was_decided(cli: Cli) -> None:
    """
    Purging needs a yes; the verdict outlives the item, is explained, and can be lifted.
    """
    cli("report", str(REPORTS / "trivy.json"), "--service", "shop")
    id = cli.ids()[0]
    key = cli.json("show", id)["dedupe_key"]
    cli("close", id, "--reason", "wont_fix", "-m", "not ours")
    assert cli.json("cleanup", "--older-than", "0", "--dry-run")["found"] == 1
    assert "Nobody can be asked" in cli("cleanup", "--older-than", "0", expect=2).stderr
    assert cli.json("cleanup", "--older-than", "0", "--yes")["purged"] == 1
    assert "purged" in cli("show", id, expect=3).stderr

    assert [verdict["key"] for verdict in cli.json("verdict", "list")] == [key]
    assert cli.json("verdict", "explain", key)["next_report"] == "suppressed"
    cli("verdict", "lift", key)
    assert cli.json("verdict", "explain", key)["next_report"] == "reopened"
    assert cli.json("verify")["ok"]


def test_cleanup_of_history_tells_what_it_did(cli: Cli) -> None:
    """
    With --history older events go behind a baseline; the account, the log and verify say so, and faulty days are told.
    """
    cli("add", "one")
    id = cli.ids()[0]
    cli("edit", id, "--owner", "ann")
    assert "shortened  1 item: 2 events forgotten" in cli("cleanup", "--history", "0d", "--yes").stdout
    done = cli.json("cleanup", "--history", "400d", "--yes")
    assert (done["shortened"], done["events"], done["steps"]) == (0, 0, 0)
    assert "history before forgotten" in cli("log", id).stdout
    assert "1 item with a baseline" in cli("verify").stdout
    assert cli.json("verify")["shortened"] == 1
    assert cli.json("show", id)["owner"] == "ann"
    assert "0 to 36500 days" in cli("cleanup", "--history", "soon", expect=2).stderr


def test_a_large_batch_is_undone_in_steps(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Several transactions, one answer, one batch that can itself be undone; a dry run shows the same and writes nothing.
    """
    monkeypatch.setattr("backlog_store.backlog._UNDONE_A_STEP", 2)
    for title in ("one", "two", "three", "four", "five"):
        cli("add", title)
    cli("edit", *cli.ids(), "--owner", "ann", "--yes")
    assert cli.json("undo", "--dry-run")["counts"] == {"updated": 5}
    assert cli.json("undo")["counts"] == {"updated": 5}
    assert {item["owner"] for item in cli.json("list")} == {""}
