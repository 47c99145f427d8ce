"""
`backlog`, `list`, `search`, `show`, `log`, `dashboard`, `stats` and views: what is shown, and how.
"""

from __future__ import annotations

import csv
import io

import msgspec
import pytest

from tests.cli.conftest import REPORTS, Cli

EVIL = "Evil \x1b[31mred\x1b[0m \u202e title\x07"


def test_an_empty_backlog_teaches(cli: Cli) -> None:
    """
    Without a store, bare `backlog` says how to begin, and makes nothing.
    """
    told = cli().stdout

    assert "backlog report" in told
    assert "backlog demo" in told
    assert not (cli.folder.parent / "data").exists()


def test_bare_backlog_shows_what_needs_attention(cli: Cli) -> None:
    """
    Overdue, urgent and soon due items stand in parts, each with the query that lists all of it.
    """
    cli.add("late one", "--due", "yesterday", "-p", "P2")
    cli.add("burning one", "-p", "P0")
    cli.add("soon one", "--due", "+3d", "-p", "P3")
    cli.add("quiet one", "-p", "P3")
    told = cli().stdout

    assert all(title in told for title in ("late one", "burning one", "soon one", "Overdue (1)", "Urgent (1)"))
    assert "quiet one" not in told
    for query, title in (("is:awake due:<today", "late one"), ("is:awake priority:<=P1", "burning one")):
        assert query in told
        assert [row["title"] for row in cli.json("list", query)] == [title]


def test_live_items_are_listed_unless_asked_otherwise(cli: Cli) -> None:
    """
    Closed items appear with ``--all``, or when the query speaks of them.
    """
    open_, closed = cli.add("one"), cli.add("two")
    cli("close", closed)

    assert cli.ids() == [open_]
    assert set(cli.ids("--all")) == {open_, closed}
    assert cli.ids("is:closed") == [closed]
    assert cli.ids("status:done,open", "two") == [closed]


@pytest.mark.parametrize("args", [["list"], ["list", "zzz"], ["search", "zzz"], ["log"], ["stats"], ["view", "list"],
                                  ["verdict", "list"], ["batch"]])  # fmt: skip
def test_an_empty_result_is_an_empty_list(cli: Cli, args: list[str]) -> None:
    """
    Scripts get ``[]``, not words.
    """
    assert cli(*args, "--json").stdout == "[]\n"


def test_negated_terms_are_no_options(cli: Cli) -> None:
    """
    ``-tag:flaky`` on the command line is a term.
    """
    keep, _ = cli.add("one", "-t", "good"), cli.add("two", "-t", "flaky")

    assert cli.ids("-tag:flaky") == [keep]


def test_control_characters_reach_no_terminal(cli: Cli) -> None:
    """
    Escapes and bidirectional marks of a title are shown, not sent.
    """
    id = cli.add(EVIL)
    for args in (["list"], ["show", id], ["log"], [], ["list", "--format", "md"], ["comment", id, EVIL], ["log", id]):
        told = cli(*args).stdout
        assert "\\x1b[31m" in told or args[:1] == ["comment"] or not args
        assert not set("\x1b\x07\u202e") & set(told)


def test_cells_of_csv_are_no_formulas(cli: Cli) -> None:
    """
    A cell that a spreadsheet would run is quoted, joined lists too.
    """
    for title in ("=1+1", "+1", "-1", "@x", "plain", "\t=1"):
        cli.add("x", "--service", title, "--category", title)
    cli.add("y", "-t", "=tag", "-t", "b")
    rows = list(csv.DictReader(io.StringIO(cli("list", "--format", "csv").stdout)))

    services = {row["service"] for row in rows}
    assert services == {"'=1+1", "'+1", "'-1", "'@x", "plain", "'\t=1", ""}
    assert {row["tags"] for row in rows} == {"'=tag, b", ""}


def test_markdown_cells_do_not_break_the_table(cli: Cli) -> None:
    """
    A bar in a title is escaped.
    """
    cli.add("a | b")

    assert cli("list", "--format", "md", "--fields", "title").stdout.splitlines()[2] == "| a \\| b |"


def test_fields_choose_what_is_printed(cli: Cli) -> None:
    """
    JSON, NDJSON and CSV hold the named fields, in their order.
    """
    cli.add("one", "-p", "P1")

    assert cli.json("list", "--fields", "title,priority") == [{"title": "one", "priority": "P1"}]
    assert cli("list", "--format", "jsonl", "--fields", "priority").stdout == '{"priority":"P1"}\n'
    assert cli("list", "--format", "csv", "--fields", "priority,title").stdout == "priority,title\nP1,one\n"
    assert "Did you mean title?" in cli("list", "--fields", "titel", expect=2).stderr


def test_pages_follow_each_other_without_gap_or_repeat(cli: Cli) -> None:
    """
    Going on behind the cursor, or behind the last row's id, shows every item once, in the same order.
    """
    for number in range(7):
        cli.add(f"item {number}", "-p", f"P{number % 3}")
    whole = cli.ids()
    for by_id in (False, True):
        seen: list[str] = []
        after: list[str] = []
        more = True
        while more:
            result = cli("list", "--limit", "2", "--json", "--fields", "id", *after)
            seen += [row["id"] for row in msgspec.json.decode(result.stdout)]
            more = "--after" in result.stderr
            after = ["--after", seen[-1] if by_id else result.stderr.split()[-1] if more else ""]
        assert whole == seen


def test_sorting(cli: Cli) -> None:
    """
    An order is named by option or in the query, and turned round with a dash.
    """
    first, second = cli.add("a", "--due", "+9d"), cli.add("b", "--due", "+1d")

    assert cli.ids("--sort", "due") == [second, first]
    assert cli.ids("sort:-due") == [first, second]
    assert cli.ids("--sort", "-created") == [second, first]


def test_what_one_fix_clears_is_one_line(cli: Cli) -> None:
    """
    ``--by fix`` counts the items of a fix; the fix names them for a bulk edit.
    """
    cli("report", str(REPORTS / "npm-audit.json"), "--service", "web")
    groups = cli.json("list", "--by", "fix")
    lodash = next(group for group in groups if group["fix"] == "upgrade:npm/lodash")

    assert lodash == {"fix": "upgrade:npm/lodash", "count": 2, "priority": "P1"}
    cli("edit", "--fix", "upgrade:npm/lodash", "--owner", "bo", "--yes")
    assert len(cli.ids("owner:bo")) == 2


def test_views_are_queries_with_a_name(cli: Cli) -> None:
    """
    A saved view lists what its query finds; one that cannot be understood is not saved.
    """
    mine = cli.add("one", "-o", "@me")
    cli.add("two", "-o", "bo")
    cli("view", "save", "mine", "owner:@me", "sort:due")

    assert cli.ids("--view", "mine") == [mine]
    assert cli.ids("--view", "mine", "two") == []
    cli("view", "save", "bad", "ownr:me", expect=2)
    assert [view["name"] for view in cli.json("view", "list")] == ["mine"]
    cli("view", "drop", "mine")
    cli("list", "--view", "mine", expect=3)


def test_any_unambiguous_beginning_names_an_item(cli: Cli) -> None:
    """
    With or without ``bl_``; ``@latest`` is what this actor changed last.
    """
    one, two = cli.add("one"), cli.add("two")

    for name in (one, one[:12], one[3:12]):
        assert cli.json("show", name)["id"] == one
    assert cli.json("show", "@latest")["id"] == two
    cli("comment", one, "hm")
    assert cli.json("show", "@latest")["id"] == one


def test_show_tells_all_about_an_item(cli: Cli) -> None:
    """
    Fields, evidence, how often it was reported, links and history are there, as text and as JSON.
    """
    for _ in range(3):
        cli("report", str(REPORTS / "bandit.sarif"), "--service", "shop")
    id, other = cli.ids("source:bandit")[:2]
    cli("link", id, "blocks", other)
    cli("comment", id, "look", "here")
    whole = cli.json("show", id)
    told = cli("show", id).stdout

    assert (whole["occurrences"], whole["links"]) == (3, [{"kind": "blocks", "id": other}])
    assert [event["type"] for event in whole["events"]] == ["created", "linked", "comment"]
    for part in ("Reported  3 times", "Evidence", "blocks", "look here", whole["dedupe_key"]):
        assert part in told


def test_log_filters(cli: Cli) -> None:
    """
    By item, actor, type, time and batch; the newest first.
    """
    one, two = cli.add("one"), cli.add("two")
    cli("comment", one, "hm")

    assert [event["type"] for event in cli.json("log", one)] == ["comment", "created"]
    assert [event["item_id"] for event in cli.json("log", "--type", "created", "--oldest-first")] == [one, two]
    assert cli.json("log", "--who", "bo") == cli.json("log", "--since", "tomorrow") == []
    assert len(cli.json("log", "--who", "@me", "--since", "-1h")) == 3


def test_dashboard_and_stats_count_exactly(cli: Cli) -> None:
    """
    Counts agree with the lists that they stand for.
    """
    for number in range(5):
        cli.add(f"item {number}", "-s", "web" if number else "api", "-p", "P1", "--due", "yesterday")
    cli("close", cli.ids("service:api")[0])
    found = cli.json("dashboard")

    assert (found["total"], found["live"], found["overdue_count"]) == (5, 4, 4)
    assert found["status_counts"] == {"done": 1, "open": 4}
    assert found["top_services"] == [{"service": "web", "count": 4}]
    assert cli.json("stats", "--by", "service", "--all") == [
        {"service": "web", "count": 4}, {"service": "api", "count": 1}
    ]  # fmt: skip
    assert "4" in cli("dashboard").stdout


def test_searching_finds_closed_items_and_phrases(cli: Cli) -> None:
    """
    Words, phrases and beginnings, in any status.
    """
    one = cli.add("Checkout burn rate")
    cli.add("Rate of burn")
    cli("close", one)

    for words in (['"burn rate"'], ["checkout", "rat*"], ["BURN", "checkout"]):
        assert [row["id"] for row in cli.json("search", *words)] == [one]
    cli("search", "!!!", expect=2)


def test_a_field_given_to_stats_as_a_query_is_no_riddle(cli: Cli) -> None:
    """
    `backlog stats status` looks for the word; the answer says how to count by the field.
    """
    cli("init")
    cli.add("one")

    assert "say --by status" in cli("stats", "status").stderr
    assert "--by" not in cli("stats", "zzz").stderr


def test_the_id_of_an_item_is_told_from_a_key(cli: Cli) -> None:
    """
    `verdict explain` wants a key; whoever gives an id is told which key is meant.
    """
    cli("init")
    id, keyless = cli.add("one", "--key", "slo:checkout"), cli.add("two")

    assert "its key is 'slo:checkout' (--env prod)" in cli("verdict", "explain", id, expect=3).stderr
    assert "without a key" in cli("verdict", "explain", keyless, expect=3).stderr
    assert "would open a new item" in cli("verdict", "explain", "slo:cart", expect=3).stderr
