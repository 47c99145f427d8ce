"""
Text of reports made fit for items: one line, no control characters, no secrets, nothing that moves with the code.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from urllib.parse import unquote

__all__ = [
    "EMBEDDED_LINK", "MASK", "VERSION", "addresses", "bullet", "clean", "clip", "code", "cwes", "fenced", "is_absolute",
    "is_secret_rule", "link", "mask", "numberless", "one_line", "redact_quoted", "relative_path", "slug", "steady",
]  # fmt: skip

TITLE_MAX = 300
TEXT_MAX = 8_000
SNIPPET_MAX = 2_000

_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_DIGIT = re.compile(r"\d|/tmp/|/var/")
_SPACE = re.compile(r"\s+")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)*(?!\w)")
_SLUG = re.compile(r"[^a-z0-9]+")
_CWE = re.compile(r"\bcwe[-/_ ]?0*(\d{1,5})\b", re.IGNORECASE)
_DRIVE = re.compile(r"/?[A-Za-z]:/")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)

#: Parts of a message that change although the problem does not, each with what stands in its place.
_MOVING: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b0x[0-9a-f]{4,}\b", re.IGNORECASE), "0x…"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b(lines?|columns?|col|row|offset)(\s+|:\s*|=)\d+(?:\s*[-:,]\s*\d+)*", re.IGNORECASE), r"\1\2…"),
    (
        re.compile(
            r"(\.(?:py|pyi|[jt]sx?|mjs|go|java|kt|rb|rs|c|cc|cpp|h|hpp|cs|php|swift|scala|sh|sql|vue|tf|ya?ml|json|toml"
            r"|xml|html)):\d+(?::\d+)?\b"
        ),
        r"\1:…",
    ),
    (re.compile(r"(?:/tmp|/var/folders)/[^\s'\",;)]+"), "<temporary file>"),
)
#: Well-known shapes of secrets, masked in every text whatever the rule that quotes them.
_SECRETS = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}\b|\bgithub_pat_[A-Za-z0-9_]{20,}\b|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}|\b[sr]k_live_[A-Za-z0-9]{16,}\b|\bAIza[0-9A-Za-z_-]{35}"
    r"|\bnpm_[A-Za-z0-9]{30,}\b|\bpypi-[A-Za-z0-9_-]{30,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=://)[^/\s:@]+:[^/\s:@]+(?=@)",
    re.DOTALL,
)
MASK = "[redacted]"
_SECRET_RULE = re.compile(
    r"secret|credential|passw|passphrase|api[-_ ]?key|access[-_ ]?(?:key|token)|private[-_ ]?key|auth[-_ ]?token"
    r"|\bB10[567]\b|\bS10[567]\b|cwe[-/_ ]?0*(?:259|312|321|522|798)\b",
    re.IGNORECASE,
)
_SECRET_TOOL = re.compile(r"gitleaks|trufflehog|detect-secrets|secret|ggshield|noseyparker|talisman", re.IGNORECASE)
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`|“[^”\n]*”")


#: SARIF's links to another place of the report (``[text](1)``), and a version number in an address.
EMBEDDED_LINK = re.compile(r"\[([^\[\]]*)\]\(\d+\)")
VERSION = re.compile(r"/v?\d+\.\d+")
_ADDRESS = re.compile(r"https?://[^\s<>()\"']{1,1000}")


def clean(text: str) -> str:
    """
    Return *text* without terminal colours and control characters (NUL stays: the store refuses it), secrets masked.
    """
    if _CONTROL.search(text):
        text = _CONTROL.sub("\ufffd", _ANSI.sub("", text))
    return mask(text.replace("\r\n", "\n").replace("\r", "\n"))


def mask(text: str) -> str:
    """
    Return *text* with whatever has the shape of a well-known kind of secret masked.
    """
    return _SECRETS.sub(MASK, text)


def redact_quoted(text: str) -> str:
    """
    Return the message of a rule about secrets with everything in quotes masked: tools quote the secret there.
    """
    return _QUOTED.sub(MASK, mask(text))


def is_secret_rule(tool: str, *names: str) -> bool:
    """
    Tell whether a tool, or a rule by one of its names or tags, is about secrets in the code.
    """
    return bool(_SECRET_TOOL.search(tool)) or any(_SECRET_RULE.search(name) for name in names)


def one_line(text: str, longest: int = TITLE_MAX) -> str:
    """
    Return *text* as one line of at most *longest* characters.
    """
    return clip(_SPACE.sub(" ", text).strip(), longest)


def clip(text: str, longest: int = TEXT_MAX) -> str:
    """
    Return *text*, cut with an ellipsis where it is longer than *longest*.
    """
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def steady(text: str) -> str:
    """
    Return *text* with what moves from run to run (line numbers, times, addresses, temporary files) replaced.
    """
    if _DIGIT.search(text) is None:
        return text
    for pattern, instead in _MOVING:
        text = pattern.sub(instead, text)
    return text


def numberless(text: str) -> str:
    """
    Return *text* with each number that stands by itself as 0, for comparing.
    """
    return _NUMBER.sub("0", " ".join(text.split()))


def slug(text: str) -> str:
    """
    Return a name as lower-case words joined by hyphens: the name of a source.
    """
    return _SLUG.sub("-", text.lower()).strip("-")


def cwes(*texts: str) -> list[str]:
    """
    Return the weaknesses (``CWE-78``) that the texts name, each once, in order.
    """
    found = dict.fromkeys(int(number) for text in texts for number in _CWE.findall(text))
    return [f"CWE-{number}" for number in sorted(found)]


def relative_path(uri: str, root: str = "") -> str:
    """
    Return a file's URI or path with slashes, relative to *root* where it lies below it.

    ``file:///builds/shop/src/a.py`` and ``./src/a.py`` become ``src/a.py``. What stays absolute starts with a slash or
    a drive. Other URIs (``https://…``) are kept.
    """
    path = uri
    if path.lower().startswith("file:"):
        path = unquote(path[5:])
        if path.startswith("//") and not _DRIVE.match(path[2:]):
            host, slash, rest = path[2:].partition("/")
            path = slash + rest if host.lower() in ("", "localhost") else path  # //host/share is another machine's
        else:
            path = path.removeprefix("//")
    elif _SCHEME.match(path):
        return path
    elif "%" in path:
        path = unquote(path)
    path = path.replace("\\", "/")
    if _DRIVE.match(path):
        path = path.lstrip("/")
    folder = root.replace("\\", "/").rstrip("/")
    if folder and (path == folder or path.startswith(folder + "/")):
        path = path[len(folder) :].lstrip("/")
    path = posixpath.normpath(path) if path else ""
    return "" if path == "." else path


def is_absolute(path: str) -> bool:
    """
    Tell whether a path that `relative_path` returned still depends on the machine.
    """
    return path.startswith("/") or bool(_DRIVE.match(path))


def code(text: str) -> str:
    """
    Return *text* as inline code in Markdown.
    """
    text = one_line(text, 500)
    ticks = "``" if "`" in text else "`"
    gap = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{gap}{text}{gap}{ticks}" if text else ""


def fenced(text: str) -> str:
    """
    Return *text* as a block of code in Markdown, its fence longer than any inside.
    """
    body = clip(text.strip("\n"), SNIPPET_MAX)
    longest = max((len(run) for run in re.findall(r"`{3,}", body)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}\n{body}\n{fence}"


def link(label: str, url: str) -> str:
    """
    Return a Markdown link, or the label alone where *url* is no plain web address.
    """
    return f"[{label}]({mask(url)})" if _ADDRESS.fullmatch(url) else label


def addresses(urls: Iterable[str]) -> list[str]:
    """
    Return those of *urls* that are plain web addresses, each once, secrets masked.
    """
    return [mask(url) for url in dict.fromkeys(urls) if _ADDRESS.fullmatch(url)]


def bullet(name: str, value: str) -> str:
    """
    Return one line of a Markdown list, or nothing for an empty value.
    """
    return f"- **{name}**: {value}\n" if value else ""
