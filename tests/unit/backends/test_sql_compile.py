"""
Queries as SQL text: what the engines are asked. That the answers are right is the conformance suite's business.
"""

from __future__ import annotations

import re
from itertools import product

import pytest

from backlog_store.backends.sql.compile import (
    compile_events,
    compile_where,
)
from backlog_store.backends.sql.counting import compile_tally
from backlog_store.backends.sql.dialects import POSTGRES, SQLITE, Dialect
from backlog_store.backends.sql.pages import compile_items
from backlog_store.backends.sql.stages import tally_keys
from backlog_store.errors import InvalidInput
from backlog_store.model import PRIORITIES
from backlog_store.query import (
    ANY,
    FIELDS,
    ORDERS,
    All,
    Any_,
    Compare,
    EventQuery,
    HasWords,
    In,
    ItemQuery,
    Not,
    Where,
)

DIALECTS = pytest.mark.parametrize("dialect", [SQLITE, POSTGRES], ids=["sqlite", "postgres"])
LIVE = In("status", ("open", "in_progress", "blocked"))
HOSTILE = "x'; DROP TABLE items; --"


def _placeholders(sql: str) -> int:
    return len(re.findall(r"\?|%s", sql))


@DIALECTS
@pytest.mark.parametrize("field", FIELDS)
def test_user_text_is_a_parameter_and_never_sql(dialect: Dialect, field: str) -> None:
    """Whatever a value holds, the text of the statement is the same as for any other value."""
    wheres: list[tuple[Where, Where]] = [(In(field, (HOSTILE,)), In(field, ("plain",)))]
    if field != "tag":
        wheres.append((Compare(field, "<", HOSTILE), Compare(field, "<", "plain")))
    for hostile, plain in wheres:
        sql, parameters = compile_items(ItemQuery(where=hostile, order="id"), dialect)
        assert sql == compile_items(ItemQuery(where=plain, order="id"), dialect).sql
        # Of a status only those that there are reach the engine, as stages; of a day what may be one.
        assert field in {"status", "created_on", "closed_on"} or any(
            HOSTILE in str(parameter) for parameter in parameters
        )
        assert HOSTILE not in sql
        assert _placeholders(sql) == len(parameters)


@DIALECTS
def test_words_that_no_text_holds_never_reach_the_engine(dialect: Dialect) -> None:
    """Quotes, operators, capitals and over-long words match nothing and stay out of the search syntax."""
    for word in ('a" OR "b', "a*", "A", "a b", "a-b", "x" * 65):
        assert compile_where(HasWords((word,)), dialect) == ("FALSE", ())
    assert compile_where(HasWords(()), dialect) == ("TRUE", ())
    assert any("straße" in str(value) for value in compile_where(HasWords(("straße",)), dialect).parameters)


@DIALECTS
def test_an_empty_set_is_nothing_and_no_condition_is_everything(dialect: Dialect) -> None:
    """The two ends of the language compile to constants."""
    assert compile_where(In("env", ()), dialect).sql == "FALSE"
    assert compile_where(In("tag", ()), dialect).sql == "FALSE"
    assert compile_where(Any_(()), dialect).sql == "FALSE"
    assert compile_where(ANY, dialect).sql == "TRUE"
    assert compile_where(Not(Not(In("env", ("prod",)))), dialect) == compile_where(In("env", ("prod",)), dialect)
    assert "FALSE" in compile_events(EventQuery(item_ids=()), dialect).sql


@DIALECTS
def test_or_stands_in_brackets_beside_and(dialect: Dialect) -> None:
    """A choice inside a conjunction keeps its meaning."""
    either = Any_((In("env", ("a",)), In("env", ("b",))))
    sql = compile_where(All((either, In("source", ("c",)))), dialect).sql
    assert re.fullmatch(r"\(env = \S+ OR env = \S+\) AND source = \S+", sql)


def test_a_long_list_is_one_parameter() -> None:
    """Ten thousand values make no longer statement than ten, so few texts of SQL are prepared."""
    few, many = (In("id", tuple(f"bl_{n}" for n in range(count))) for count in (10, 10_000))
    assert compile_where(few, SQLITE).sql == compile_where(many, SQLITE).sql
    assert len(compile_where(many, SQLITE).parameters) == 1
    assert compile_where(many, POSTGRES).sql == "id = ANY(%s)"


def test_a_thousand_alternatives_stay_shallow() -> None:
    """SQLite refuses expressions deeper than 1,000; alternatives are joined as a tree and not as a chain."""
    sql = compile_where(Any_(tuple(Compare("env", ">", str(n)) for n in range(4_096))), SQLITE).sql
    depth = deepest = 0
    for letter in sql:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        deepest = max(deepest, depth)
    assert deepest < 20


def test_a_page_in_order_is_merged_from_branches() -> None:
    """Live items of one env by priority: one SELECT for each stage, merged by one ORDER BY."""
    sql, parameters = compile_items(ItemQuery(where=All((LIVE, In("env", ("prod",)))), limit=50), SQLITE)
    assert sql.count("UNION ALL") == 3
    assert sql.count("ORDER BY") == 1
    assert sql.endswith("ORDER BY priority, due, id\nLIMIT ?")
    assert parameters[-1] == 50
    assert sql.count("env = ?") == 4


def test_the_order_by_due_date_has_a_branch_for_each_priority() -> None:
    """Within one env, status and priority the index is in the order of the due dates."""
    query = ItemQuery(where=All((In("status", ("blocked",)), In("env", ("prod",)))), order="due")
    assert compile_items(query, SQLITE).sql.count("UNION ALL") == 3
    narrowed = ItemQuery(where=All((query.where, In("priority", ("P0", "P1")))), order="due")
    assert compile_items(narrowed, SQLITE).sql.count("UNION ALL") == 1


def test_envs_are_asked_for_only_where_they_help() -> None:
    """A store whose index starts with the env names them for pages in its order, and for keys without an env."""
    asked: list[str] = []

    def envs() -> list[str]:
        asked.append("envs")
        return ["prod", "staging"]

    assert compile_items(ItemQuery(where=LIVE), SQLITE, envs=envs).sql.count("UNION ALL") == 7
    assert asked == ["envs"]
    for where in (All((LIVE, In("env", ("prod",)))), In("owner", ("ann",)), HasWords(("burn",))):
        compile_items(ItemQuery(where=where), SQLITE, envs=envs)
    compile_items(ItemQuery(order="created"), SQLITE, envs=envs)
    assert asked == ["envs"]
    by_key = compile_items(ItemQuery(where=In("dedupe_key", ("k",))), SQLITE, envs=envs)
    assert "env IN (?, ?)" in by_key.sql


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRES], ids=["sqlite", "postgres"])
def test_too_many_branches_become_one_sort(dialect: Dialect) -> None:
    """Hundreds of envs are a condition, not hundreds of SELECTs."""
    query = ItemQuery(where=In("env", tuple(f"pr-{n}" for n in range(300))))
    assert "UNION" not in compile_items(query, dialect).sql


def test_many_branches_are_one_select_that_runs_for_each() -> None:
    """On PostgreSQL a dozen branches are planned once; SQLite merges them as they are."""
    query = ItemQuery(where=All((LIVE, Compare("due_date", "<", "2026-04-20"))), limit=20, offset=5)
    sql, parameters = compile_items(query, POSTGRES)
    assert "UNION" not in sql
    assert _placeholders(sql) == len(parameters)
    stages, priorities, *_, of_branch, of_page, skipped = parameters
    assert sorted(zip(stages, priorities, strict=True)) == sorted(product((*LIVE.values, "waiting"), PRIORITIES))
    assert (of_branch, of_page, skipped) == (25, 20, 5)
    assert compile_items(query, SQLITE, envs=lambda: ["prod"]).sql.count("UNION ALL") == 15


def test_contradicting_conditions_need_no_branch() -> None:
    """Two sets of one field meet in their common values; without any the answer is nothing."""
    where = All((LIVE, In("status", ("done",))))
    assert "WHERE FALSE" in compile_items(ItemQuery(where=where), SQLITE).sql


@DIALECTS
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("descending", [False, True])
def test_a_next_page_starts_after_the_whole_key(dialect: Dialect, order: str, descending: bool) -> None:
    """The cursor is compared as one row value, in the direction of the order, in every branch."""
    after = tuple(f"v{n}" for n in range(len(ORDERS[order])))
    query = ItemQuery(order=order, descending=descending, after=after)  # type: ignore[arg-type]
    sql, parameters = compile_items(query, dialect)
    sign = "<" if descending else ">"
    marks = ", ".join([dialect.placeholder] * len(after))
    assert sql.count(f") {sign} ({marks})") == sql.count("SELECT doc")
    assert _placeholders(sql) == len(parameters)
    assert sql.rpartition("ORDER BY")[2].count(" DESC") == (len(after) if descending else 0)


@DIALECTS
def test_limits_and_offsets(dialect: Dialect) -> None:
    """Reading all needs no limit; an offset without one is written as each engine wants it."""
    assert "LIMIT" not in compile_items(ItemQuery(order="id", limit=None), dialect).sql
    assert compile_items(ItemQuery(order="id", limit=3, offset=4), dialect).parameters == (3, 4)
    skipped = compile_items(ItemQuery(order="id", limit=None, offset=4), dialect)
    assert f"\n{dialect.no_limit} OFFSET" in skipped.sql


def test_a_selective_condition_leads_the_plan() -> None:
    """Beside an owner, tag or phrase, the columns of the page index are kept out of SQLite's plan."""
    for part in (In("owner", ("ann",)), In("tag", ("flaky",)), HasWords(("burn",)), Compare("closed_at", "<", "2026")):
        sql = compile_items(ItemQuery(where=All((LIVE, part))), SQLITE).sql
        assert "+status" in sql
        assert not re.search(r"(?<![+\w.])status\b", sql)
        assert "UNION ALL\nSELECT doc" not in sql
        assert "+status" not in compile_items(ItemQuery(where=All((LIVE, part))), POSTGRES).sql


@DIALECTS
def test_due_dates_are_one_column(dialect: Dialect) -> None:
    """An item without a due date is before and after no day, and is counted under the empty text."""
    assert compile_where(Compare("due_date", "<", "2026-01-01"), dialect).sql.count("due < ") == 2
    assert compile_where(In("due_date", ("",)), dialect).parameters == ("9999-99-99",)
    assert compile_where(In("due_date", ("9999-99-99",)), dialect).sql == "FALSE"
    sql = compile_tally(ANY, ("due_date", "fix"), dialect).sql
    assert sql == "SELECT due, fix, COUNT(*)\nFROM items\nWHERE TRUE\nGROUP BY due, fix"
    rows = [("9999-99-99", "prod", 2), ("2026-01-01", "prod", 1)]
    assert tally_keys(("due_date", "env"), rows) == {("", "prod"): 2, ("2026-01-01", "prod"): 1}


def test_a_count_of_nothing_is_left_out() -> None:
    """Without facets the one row may say zero, and zeros are left out."""
    assert tally_keys((), [(0,)]) == {}
    assert tally_keys((), [(3,)]) == {(): 3}


@DIALECTS
def test_events_by_every_condition(dialect: Dialect) -> None:
    """Each condition adds its parameters, and the order is that of the positions."""
    query = EventQuery(
        item_ids=("bl_a",), types=("created", "moved"), actors=("ann",), batch="b", added=False, since="2026",
        until="2027", after="0000000000000007", newest_first=True, limit=5,
    )  # fmt: skip
    sql, parameters = compile_events(query, dialect)
    assert _placeholders(sql) == len(parameters)
    assert "NOT added" in sql
    assert "(position) < " in sql
    assert 7 in parameters
    assert "ORDER BY position DESC\nLIMIT" in sql


@DIALECTS
@pytest.mark.parametrize("after", ["x", "-1", "1.5", "١", "9" * 20])
def test_a_foreign_position_is_refused(dialect: Dialect, after: str) -> None:
    """What this store cannot have given as a position is an error that names the place."""
    with pytest.raises(InvalidInput) as error:
        compile_events(EventQuery(after=after), dialect)
    assert error.value.faults[0].pointer == "/after"


@DIALECTS
def test_impossible_questions_are_refused(dialect: Dialect) -> None:
    """Unknown fields, orders and facets, and texts that no store holds, never reach the engine."""
    for where in (In("password", ("x",)), Compare("tag", "<", "x"), In("env", ("a\0",)), In("env", ("\ud800",))):
        with pytest.raises(InvalidInput):
            compile_where(where, dialect)
    with pytest.raises(InvalidInput):
        compile_tally(ANY, ("title",), dialect)
    with pytest.raises(InvalidInput):
        compile_items(ItemQuery(limit=-1), dialect)
    with pytest.raises(InvalidInput):
        compile_where(HasWords(("",)), dialect)


def test_a_count_of_now_drives_no_other_one_out() -> None:
    """
    What is asked at each look is compiled once, however many instants were asked about meanwhile.
    """
    often = (In("status", ("open",)), ("owner",), SQLITE)
    kept = compile_tally(*often)
    for second in range(1_000):
        now = f"2026-01-01T00:{second // 60:02}:{second % 60:02}.000000Z"
        assert "wake" in compile_tally(Compare("wake_at", ">", now), ("owner",), SQLITE).sql
    assert compile_tally(*often) is kept
