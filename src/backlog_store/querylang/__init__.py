"""
The query language of the command line: text in, a `query.Where` and an order out. See docs/reference/query.md.

Parsing is pure: the instant and the name behind ``@me`` are arguments. The parser generator is imported only when a
query is parsed; `dates` needs nothing of it.
"""

from __future__ import annotations

from backlog_store.querylang.language import FIELD_HELP, IS_HELP
from backlog_store.querylang.terms import Parsed

__all__ = ["FIELD_HELP", "IS_HELP", "Parsed", "parse_query"]


def parse_query(text: str, *, now: str, me: str) -> Parsed:
    """
    Parse a query as of the instant *now*, asked by *me*. Raises `InvalidQuery`, and nothing else.
    """
    from backlog_store.querylang.parser import parse

    return parse(text, now=now, me=me)
