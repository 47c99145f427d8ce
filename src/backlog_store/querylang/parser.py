"""
The grammar of the query language (LALR, by lark) and the errors that it gives.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken
from lark.exceptions import LarkError
from msgspec import Struct

from backlog_store.errors import InvalidQuery
from backlog_store.query import Any_, Not, Where
from backlog_store.querylang.language import compile_term, field_name, order_of, parts_of
from backlog_store.querylang.terms import Asker, Parsed, Piece, Term, conjunction

__all__ = ["DEPTH_MAX", "LENGTH_MAX", "TERMS_MAX", "parse"]

LENGTH_MAX = 4_000  # characters
TERMS_MAX = 200  # conditions; engines bound the depth of a chain of them
DEPTH_MAX = 40  # parentheses inside each other

_GRAMMAR = r"""
?start: or_
or_: and_ (_OR and_)*
and_: _unary (_AND? _unary)*
_unary: neg | "(" or_ ")" | term | word | phrase
neg: _NOT _unary
term: FIELD OP? _value (_COMMA _value)*
_value: VALUE | QUOTED
word: WORD
phrase: QUOTED | QUOTED_STAR

_OR.4: /OR(?=[\s(]|\Z)/
_AND.4: /AND(?=[\s(]|\Z)/
_NOT.4: /NOT(?=[\s(]|\Z)|-(?=\S)/
FIELD.3: /[A-Za-z_]+:(?=\S)/
OP.3: /<=|>=|<|>|=/
QUOTED_STAR.3: /"(\\.|[^"\\])*"\*/s
QUOTED.2: /"(\\.|[^"\\])*"/s
VALUE: /[^\s,()"<>=][^\s,()"]*/
WORD: /(?!(?:OR|AND|NOT)(?:[\s(]|\Z))[^\s(),"-][^\s()"]*/
_COMMA.4: ","
%ignore /\s+/
"""

#: What the terminals are called when one of them was expected.
_NAMES = {
    "FIELD": "field:value", "WORD": "a word", "QUOTED": 'a "phrase"', "VALUE": "a value", "OP": "< <= > >=",
    "_OR": "OR", "_AND": "AND", "_NOT": "-", "LPAR": "(", "RPAR": ")", "_COMMA": ",", "$END": "the end",
}  # fmt: skip


class _Not(Struct, frozen=True):
    part: Any


class _And(Struct, frozen=True):
    parts: tuple[Any, ...]


class _Or(Struct, frozen=True):
    parts: tuple[Any, ...]


class _Build(Transformer[Token, Any]):
    """
    Turns what was recognised into small nodes while parsing, so that no deep tree is walked.
    """

    def or_(self, parts: list[Any]) -> Any:
        return parts[0] if len(parts) == 1 else _Or(tuple(parts))

    def and_(self, parts: list[Any]) -> Any:
        return parts[0] if len(parts) == 1 else _And(tuple(parts))

    def neg(self, parts: list[Any]) -> Any:
        return parts[0].part if isinstance(parts[0], _Not) else _Not(parts[0])

    def term(self, parts: list[Token]) -> Any:
        field, rest = parts[0], parts[1:]
        op = str(rest.pop(0)) if rest[0].type == "OP" else ""
        return Term(Piece(str(field)[:-1], _offset(field)), op, tuple(_piece(token) for token in rest))

    def word(self, parts: list[Token]) -> Any:
        return _piece(parts[0])

    def phrase(self, parts: list[Token]) -> Any:
        return _piece(parts[0])


def _offset(token: Token) -> int:
    return token.start_pos or 0


def _piece(token: Token) -> Piece:
    text = str(token)
    if token.type in ("QUOTED", "QUOTED_STAR"):
        star = "*" if token.type == "QUOTED_STAR" else ""
        inner = text.removesuffix(star)[1:-1]
        plain = re.sub(r"\\(.)", r"\1", inner, flags=re.DOTALL)  # a backslash makes the next character literal
        return Piece(plain + star, _offset(token), quoted=True)
    return Piece(text, _offset(token))


_parser = Lark(_GRAMMAR, parser="lalr", lexer="contextual", transformer=_Build(), maybe_placeholders=False)


def parse(text: str, *, now: str, me: str) -> Parsed:
    """
    Parse a query as of *now*, asked by *me*. Raises `InvalidQuery`, and nothing else.
    """
    asker = Asker(text, now, me)
    _check_text(asker)
    if not text.strip():
        return Parsed(where=conjunction(()))
    try:
        node = _parser.parse(text)
    except UnexpectedInput as error:
        _explain(asker, error)
    except LarkError as error:
        raise InvalidQuery(text, offset=0, reason=str(error).splitlines()[0]) from error
    return _Compiler(asker).whole(node)


def _check_text(asker: Asker) -> None:
    text = asker.text
    if len(text) > LENGTH_MAX:
        reason = f"{len(text)} characters; a query has at most {LENGTH_MAX}"
        raise InvalidQuery(f"{text[:LENGTH_MAX]}…", offset=LENGTH_MAX, reason=reason)
    for index, letter in enumerate(text):
        if letter == "\0" or "\ud800" <= letter <= "\udfff":
            asker.refuse(Piece("", index), "a query holds neither NUL nor lone surrogates")


def _explain(asker: Asker, error: UnexpectedInput) -> NoReturn:
    text = asker.text
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        at = _offset(error.token)
        reason = f"{str(error.token)!r} does not fit here"
        known: Any = error.accepts or error.expected
    elif isinstance(error, UnexpectedCharacters):
        at = error.pos_in_stream or 0
        reason = f"{text[at]!r} does not fit here"
        if text[at] == '"':
            reason = "this quote is never closed"
        known = error.allowed or ()
    else:
        at, reason = len(text), "the query stops too early"
        known = getattr(error, "accepts", None) or getattr(error, "expected", ())
        if isinstance(error, UnexpectedEOF):
            known = error.expected
        opened = _unclosed(text)
        if opened is not None:
            at, reason = opened, "this parenthesis is never closed"
    expected = tuple(sorted({_NAMES[name] for name in known if name in _NAMES}))
    asker.refuse(Piece("", at), reason, expected=expected)


def _unclosed(text: str) -> int | None:
    opened: list[int] = []
    quoted = False
    for index, letter in enumerate(text):
        if letter == '"' and (index == 0 or text[index - 1] != "\\"):
            quoted = not quoted
        elif not quoted and letter == "(":
            opened.append(index)
        elif not quoted and letter == ")" and opened:
            opened.pop()
    return opened[-1] if opened else None


class _Compiler:
    """
    Compiles nodes to conditions, bounded in number and depth.
    """

    def __init__(self, asker: Asker) -> None:
        self.asker = asker
        self.terms = 0
        self.scoped = False

    def whole(self, node: Any) -> Parsed:
        """
        Compile a whole query; only here may an order be named.
        """
        parts = node.parts if isinstance(node, _And) else (node,)
        orders = [part for part in parts if isinstance(part, Term) and field_name(self.asker, part.field) == "sort"]
        if len(orders) > 1:
            self.asker.refuse(orders[1].field, "one order is enough")
        order, turned = order_of(self.asker, orders[0]) if orders else ("", False)
        where = conjunction([self.compile(part, 0) for part in parts if part not in orders])
        return Parsed(where=where, order=order, descending=turned, scoped=self.scoped)

    def compile(self, node: Any, depth: int) -> Where:
        """
        Compile one node.
        """
        if depth > DEPTH_MAX:
            self.asker.refuse(Piece("", 0), f"parentheses deeper than {DEPTH_MAX}")
        match node:
            case _And(parts):
                return conjunction([self.compile(part, depth + 1) for part in parts])
            case _Or(parts):
                return Any_(tuple(self.compile(part, depth + 1) for part in parts))
            case _Not(part):
                return Not(self.compile(part, depth + 1))
            case Term():
                self._count(node.field, len(node.values))
                where, scoped = compile_term(self.asker, node)
                self.scoped = self.scoped or scoped
                return where
        self._count(node, 1)
        return parts_of(self.asker, node)

    def _count(self, piece: Piece, more: int) -> None:
        self.terms += more
        if self.terms > TERMS_MAX:
            self.asker.refuse(piece, f"more than {TERMS_MAX} conditions")
