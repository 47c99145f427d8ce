"""
`backlog digest` on the command line.
"""

from __future__ import annotations

import shlex

from tests.cli.conftest import Cli


def test_since_last_tells_everything_once(cli: Cli) -> None:
    """The second digest is empty, and a third one tells what came in between; the view is there to look at."""
    cli.add("one")
    cli.add("two")
    assert 2 == cli.json("digest", "--since", "last")["new"]["count"]
    assert 0 == cli.json("digest", "--since", "last")["new"]["count"]
    cli.add("three")
    found = cli.json("digest", "--since", "last")["new"]
    assert ["three"] == [item["title"] for item in found["first"]]
    assert ["digest"] == [view["name"] for view in cli.json("view", "list")]


def test_a_digest_that_is_not_to_be_remembered_writes_nothing(cli: Cli) -> None:
    """Looking at the week changes nothing, and the next one tells the same."""
    cli.add("one")
    assert 1 == cli.json("digest")["new"]["count"]
    assert 1 == cli.json("digest", "--since", "1d")["new"]["count"]
    assert [] == cli.json("view", "list")


def test_any_digest_can_be_remembered(cli: Cli) -> None:
    """After --remember, `--since last` goes on from there."""
    cli.add("one")
    assert 1 == cli.json("digest", "--remember")["new"]["count"]
    assert 0 == cli.json("digest", "--since", "last")["new"]["count"]


def test_each_env_has_its_own_last_digest(cli: Cli) -> None:
    """What was told of one env is not lost for another one, and each counts its own items alone."""
    cli.add("one", "--env", "prod")
    cli.add("two", "--env", "staging")
    assert 1 == cli.json("digest", "--since", "last", "--env", "prod")["new"]["count"]
    found = cli.json("digest", "--since", "last", "--env", "staging")
    assert ["two"] == [item["title"] for item in found["new"]["first"]]
    assert 1 == found["live"]


def test_closed_reopened_and_closed_again_counts_once(cli: Cli) -> None:
    """An item is counted where it ended: fixed once, reopened once, however often it went to and fro."""
    id = cli.add("one")
    for _ in range(2):
        cli("close", id, "--yes")
        cli("reopen", id, "--message", "still there", "--yes")
    cli("close", id, "--yes")
    found = cli.json("digest")
    assert (1, 1, 1) == (found["fixed"]["count"], found["by_people"], found["reopened"]["count"])


def test_a_time_that_lies_ahead_is_refused(cli: Cli) -> None:
    """A digest tells what happened; what cannot be understood is refused with examples."""
    assert "lies ahead" in cli("digest", "--since", "2999-01-01", expect=2).stderr
    assert "Give `last`, or a time" in cli("digest", "--since", "someday", expect=2).stderr


def test_a_view_of_somebody_is_not_taken_for_an_instant(cli: Cli) -> None:
    """A saved view that happens to have the name is left alone, and the error says how to make room."""
    cli("view", "save", "digest", "owner:@me")
    failed = cli("digest", "--since", "last", expect=2)
    assert "backlog view drop digest" in failed.stderr
    assert "owner:@me" == cli.json("view", "list")[0]["query"]


def test_an_env_of_any_letters_makes_a_query_that_can_be_asked(cli: Cli) -> None:
    """The query beside a number works as it is printed, whatever the env is called."""
    env = "a 'b\" \\c"
    cli.add("one", "--env", env)
    found = cli.json("digest", "--env", env)["unowned"]
    assert 1 == found["count"]
    program, *arguments = shlex.split(found["query"])
    assert "backlog" == program
    assert ["one"] == [row["title"] for row in cli.json(*arguments)]


def test_what_cannot_be_remembered_is_refused_first(cli: Cli) -> None:
    """An env whose name no view can have is told of, but not with an end that could not be kept."""
    cli.add("one", "--env", "a b")
    failed = cli("digest", "--env", "a b", "--since", "last", expect=2)
    assert "" == failed.stdout
    assert "digest-a b" in failed.stderr
    assert 1 == cli.json("digest", "--env", "a b")["new"]["count"]


def test_steps_of_escalation_are_told_until_they_fired(cli: Cli) -> None:
    """A step that is due is told with the command that lets it fire; after that it is told as fired, once."""
    (cli.folder / "p.yaml").write_text("escalation: {rules: [{name: late, steps: [{name: lead, overdue_hours: 0}]}]}")
    id = cli.add("one", "--due", "2026-01-02", "--env", "a b")
    assert "Escalation" not in cli("digest").stdout
    assert cli.json("digest")["steps_due"] is None
    cli("policy", "apply", "p.yaml", "-y")
    found = cli.json("digest", "--env", "a b")
    assert (0, 1, 1) == (found["steps_fired"]["count"], found["steps_due"]["count"], found["steps_looked_at"])
    told = found["steps_due"]["first"][0]
    assert ("lead", "late", id) == (told["step"], told["rule"], told["item"]["id"])
    program, *arguments = shlex.split(found["steps_due"]["query"])
    assert "backlog" == program
    assert "1 step due" in cli(*arguments).stderr
    cli("escalate")
    after = cli.json("digest", "--since", "last")
    assert (1, 0) == (after["steps_fired"]["count"], after["steps_due"]["count"])
    assert ("lead", id) == (after["steps_fired"]["first"][0]["step"], after["steps_fired"]["first"][0]["item"]["id"])
    assert 0 == cli.json("digest", "--since", "last")["steps_fired"]["count"]
    for text in ("Escalation steps that fired: 1", "Escalation steps that are due and did not fire yet: 0"):
        assert text in cli("digest").stdout
