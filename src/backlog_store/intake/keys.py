"""
Keys of reported problems: source kind, then service or repository, then the problem. Never a line number.
"""

from __future__ import annotations

from backlog_store.codec import digest, encode
from backlog_store.digests import blake2b
from backlog_store.model import LIMITS

__all__ = ["Ordinals", "compact", "dedupe_key", "fingerprint", "fix_name", "inputs"]

_PART_MAX = 96
_INPUT_MAX = 2_000


def dedupe_key(kind: str, service: str, *parts: str) -> str:
    """
    Return the key of a problem: its parts joined with colons, each escaped and, where it is long, cut and hashed.
    """
    return ":".join(_part(part, LIMITS.name if index == 1 else _PART_MAX)
                    for index, part in enumerate((kind, service, *parts)))  # fmt: skip


def _part(text: str, longest: int) -> str:
    escaped = text.replace("%", "%25").replace(":", "%3A").replace("\n", "%0A")
    if len(escaped) <= longest:
        return escaped
    return f"{escaped[: longest - 27]}~{digest(text.encode('utf-8', 'surrogatepass'))}"


def fingerprint(*parts: str) -> str:
    """
    Return a digest of *parts*, different for different ways to cut the same text.
    """
    return digest(encode(parts))


def fix_name(kind: str, *parts: str) -> str:
    """
    Return the name of the one fix that clears every item of the same name (``upgrade:pypi/jinja2``).
    """
    return _part_free(f"{kind}:{':'.join(parts)}")


def _part_free(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LIMITS.name else f"{text[: LIMITS.name - 27]}~{digest(text.encode('utf-8'))}"


def inputs(**named: str) -> dict[str, str]:
    """
    Return what went into a key, to be stored beside it; empty ones left out, long ones cut and hashed.
    """
    kept = {}
    for name, value in named.items():
        if value:
            long = len(value) > _INPUT_MAX
            kept[name] = f"{value[:_INPUT_MAX]}…~{digest(value.encode('utf-8', 'replace'))}" if long else value
    return kept


class Ordinals:
    """
    Tells equal findings of one report apart: the second of an identity is ``#2``.

    The same finding said twice (same identity at the same place) keeps its number. Which of several equal findings
    is first does not matter: as many equal ones in the next report have the same keys.
    """

    def __init__(self) -> None:
        # Digests, not texts: a report may hold a million findings.
        self._count: dict[bytes, int] = {}
        self._known: dict[bytes, int] = {}

    def nth(self, identity: str, *place: str | int) -> int:
        """
        Return 1 for the first finding of this identity, 2 for the second at another place.
        """
        exact = compact(identity, *place)
        number = self._known.get(exact)
        if number is None:
            number = self._known[exact] = self.next(identity)
        return number

    def next(self, identity: str) -> int:
        """
        Return the number of one more finding of this identity, wherever it is.
        """
        problem = compact(identity)
        number = self._count[problem] = self._count.get(problem, 0) + 1
        return number


def compact(*parts: str | int) -> bytes:
    """
    Return 16 bytes that stand for *parts* in memory; they are never stored.
    """
    return blake2b(encode(parts), digest_size=16).digest()
