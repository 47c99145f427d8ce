"""
Taking passwords and tokens out of what is shown.
"""

from __future__ import annotations

import re

__all__ = ["TOKEN_PREFIX", "redacted"]

#: How every token of the service begins, so that scanners of secrets know one.
TOKEN_PREFIX = "blt_"  # noqa: S105  (what each begins with is no secret)

#: A password between ``user:`` and ``@`` of a URL (it may hold an @ itself), and one of a libpq keyword DSN or query.
_IN_URL = r"(://[^\s:/@?#]*):\S*@"
_IN_KEYWORDS = r"(\bpassword\s*=\s*)('(?:\\.|[^'\\])*'|[^\s&'\"]+)"
_TOKEN = rf"\b{TOKEN_PREFIX}[A-Za-z0-9_-]+"


def redacted(text: str) -> str:
    """
    Return *text* with tokens, and the passwords of URLs and DSNs, replaced.
    """
    # Compiling a pattern takes longer than a command's whole answer, so only where it may match.
    if "@" in text:
        text = re.sub(_IN_URL, r"\1:***@", text)
    if TOKEN_PREFIX in text:
        text = re.sub(_TOKEN, f"{TOKEN_PREFIX}***", text)
    if "=" in text:
        text = re.sub(_IN_KEYWORDS, r"\1***", text, flags=re.IGNORECASE)
    return text
