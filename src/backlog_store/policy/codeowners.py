"""
CODEOWNERS files as GitHub reads them: patterns of paths, each with owners; the last one that matches wins.

A pattern is that of .gitignore, without ``!`` and ``[ ]``: one with a slash inside or in front is anchored at the root,
one without matches at any depth; a folder stands for all below it; ``*`` does not cross a slash, ``**`` does. A pattern
without owners leaves its files without any. What the file says about owners of a part (sections in brackets, as GitLab
has them) is refused, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from msgspec import Struct

from backlog_store.policy.findings import Finding, Mark

__all__ = ["OwnedPath", "check_codeowners", "owner_of_path", "parse_codeowners"]

_WORD = re.compile(r"(?:\\.|[^\s\\#]|(?<!\s)#)+")
_OWNER = re.compile(r"@[\w.-]+(/[\w.-]+)?|[^@\s]+@[^@\s]+\.[^@\s]+")


class OwnedPath(Struct, frozen=True):
    """
    One line: its number, the pattern, the owners as written (none: nobody owns these files).
    """

    line: int
    pattern: str
    owners: tuple[str, ...]


@lru_cache(maxsize=16)
def parse_codeowners(text: str) -> tuple[OwnedPath, ...]:
    """
    Return the lines that say something, in order; faulty ones are left out, as GitHub does (see `check_codeowners`).
    """
    return tuple(owned for owned, fault in _lines(text) if not fault)


def check_codeowners(text: str, file: str) -> Iterator[Finding]:
    """
    Yield the faults of a file, with their places in it, and the patterns that a later one takes everything from.
    """
    sound: list[OwnedPath] = []
    for owned, fault in _lines(text):
        if fault:
            yield Finding(pointer="", reason=fault, mark=Mark(owned.line, 1, len(owned.pattern)), file=file)
        else:
            sound.append(owned)
    last: dict[str, OwnedPath] = {}
    for owned in sound:
        last[owned.pattern] = owned
    everything = max((owned.line for owned in sound if owned.pattern in ("*", "/**", "**")), default=0)
    for owned in sound:
        winner = last[owned.pattern]
        line = winner.line if winner is not owned else everything
        if line > owned.line:
            reason = f"never decides: line {line} matches all of this, and the last one that matches wins"
            mark = Mark(owned.line, 1, len(owned.pattern))
            yield Finding(pointer="", reason=reason, mark=mark, file=file, warning=True)


def owner_of_path(owned: Sequence[OwnedPath], path: str) -> OwnedPath | None:
    """
    Return the line that decides about a path: the last one that matches.
    """
    for one in reversed(owned):
        if _compiled(one.pattern).fullmatch(path.lstrip("/")):
            return one
    return None


def _lines(text: str) -> Iterator[tuple[OwnedPath, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        words = [found[0] for found in _WORD.finditer(_without_comment(line))]
        if not words:
            continue
        pattern, owners = words[0], tuple(words[1:])
        yield OwnedPath(number, pattern.replace("\\ ", " ").replace("\\#", "#"), owners), _fault(pattern, owners)


def _without_comment(line: str) -> str:
    found = re.search(r"(?:^|(?<=\s))#", line)
    return line if found is None else line[: found.start()]


def _fault(pattern: str, owners: Sequence[str]) -> str:
    if pattern.startswith("!"):
        return "a pattern cannot be negated in CODEOWNERS"
    if "[" in pattern or "]" in pattern:
        return "brackets have no meaning in CODEOWNERS of GitHub"
    wrong = [owner for owner in owners if not _OWNER.fullmatch(owner)]
    return f"{wrong[0]!r} is no owner: @user, @organisation/team or an address" if wrong else ""


@lru_cache(maxsize=4_096)
def _compiled(pattern: str) -> re.Pattern[str]:
    folder = pattern.endswith("/")
    body = pattern.strip("/")
    is_anchored = pattern.startswith("/") or "/" in body
    parts = ["" if is_anchored else "(?:.*/)?"]
    at = 0
    while at < len(body):
        if body.startswith("**/", at):
            parts.append("(?:.*/)?")
            at += 3
        elif body.startswith("**", at):
            parts.append(".*")
            at += 2
        elif body[at] == "*":
            parts.append("[^/]*")
            at += 1
        elif body[at] == "?":
            parts.append("[^/]")
            at += 1
        else:
            parts.append(re.escape(body[at]))
            at += 1
    # `docs/*` speaks of what lies right in docs; any other pattern that names a folder, of all below it.
    is_shallow = is_anchored and body.endswith("/*")
    parts.append("/.*" if folder else "" if is_shallow else "(?:/.*)?")
    return re.compile("".join(parts), re.DOTALL)
