"""
Taking passwords out of what is shown.
"""

from __future__ import annotations

import re

__all__ = ["redacted"]

#: A password between ``user:`` and ``@`` of a URL (it may hold an @ itself), and one of a libpq keyword DSN or query.
_IN_URL = r"(://[^\s:/@?#]*):\S*@"
_IN_KEYWORDS = r"(\bpassword\s*=\s*)('(?:\\.|[^'\\])*'|[^\s&'\"]+)"


def redacted(text: str) -> str:
    """
    Return *text* with the passwords of URLs and DSNs replaced.
    """
    # Compiling a pattern takes longer than a command's whole answer, so only where it may match.
    if "@" in text:
        text = re.sub(_IN_URL, r"\1:***@", text)
    if "=" in text:
        text = re.sub(_IN_KEYWORDS, r"\1***", text, flags=re.IGNORECASE)
    return text
