"""
How text is cut into words for full-text search: once, here, so that every backend finds the same.
"""

from __future__ import annotations

import re
import unicodedata

from backlog_store.model import LIMITS

__all__ = ["words_of"]

_WORD = re.compile(r"\w+")
#: What becomes of each byte of an ASCII text: a small letter, or a space between words. (A quarter of the expression's
#: cost; every item's text is cut.)
_ASCII = bytes([ord(chr(code).lower()) if _WORD.match(chr(code)) else 32 for code in range(128)]).ljust(256)


def words_of(text: str) -> list[str]:
    """
    Return the words of *text* in order: NFKC, casefold, runs of letters, digits and ``_``, cut at `LIMITS.word`.
    """
    if text.isascii():
        words = text.encode().translate(_ASCII).decode().split()
    else:
        words = _WORD.findall(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))
    longest = LIMITS.word
    return words if max(map(len, words), default=0) <= longest else [word[:longest] for word in words]
