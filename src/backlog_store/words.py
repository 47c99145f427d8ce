"""
How text is cut into words for full-text search: once, here, so that every backend finds the same.
"""

from __future__ import annotations

import re
import unicodedata

from backlog_store.model import LIMITS

__all__ = ["words_of"]

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """
    Return the words of *text* in order: NFKC, casefold, runs of letters, digits and ``_``, cut at `LIMITS.word`.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    else:
        text = text.lower()
    longest = LIMITS.word
    return [word[:longest] for word in _WORD.findall(text)]
