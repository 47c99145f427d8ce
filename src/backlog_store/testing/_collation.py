"""
A text order that is not bytewise, for test databases on any machine.

A store that forgets to ask for bytewise order goes unnoticed on a database whose own order is bytewise. The wheel's
server knows no ICU, and small machines carry no locale but C. So a locale of our own is compiled with `localedef` of
glibc: letters sort ``a A b B``, and what is neither ASCII letter, digit nor punctuation counts last.
"""

from __future__ import annotations

import shutil
import string
import subprocess
from pathlib import Path

from backlog_store.errors import BackendUnavailable

__all__ = ["LOCALE", "compile_locale"]

#: The name of the compiled locale. PostgreSQL takes the encoding from the locale's own table, not from this name.
LOCALE = "backlog.UTF-8"


def compile_locale(folder: Path) -> None:
    """
    Compile `LOCALE` into *folder*, which a program then finds through ``LOCPATH=folder``.

    Raise `BackendUnavailable` where `localedef` (Debian: libc-bin, Fedora: glibc-common) is missing or refuses.
    """
    program = shutil.which("localedef")
    if program is None:
        raise _unavailable("the program localedef is not installed; it is part of the GNU C library's tools")
    charmap, source = folder / "charmap", folder / "source"
    charmap.write_text(_charmap(), encoding="ascii")
    source.write_text(_source(), encoding="ascii")
    # --force: the source leaves out money, dates and the like. Its exit code then says "with warnings", so look at what
    # was written instead.
    done = subprocess.run(  # noqa: S603 - the program was looked up, its arguments are ours
        [program, "--force", "--no-archive", f"--charmap={charmap}", f"--inputfile={source}", str(folder / LOCALE)],
        capture_output=True,
        text=True,
        check=False,
    )
    if not (folder / LOCALE / "LC_COLLATE").exists():
        raise _unavailable(f"localedef wrote no locale: {done.stderr.strip()}")


def _charmap() -> str:
    lines = ["<code_set_name> UTF-8", "<comment_char> %", "<escape_char> /", "<mb_cur_min> 1", "<mb_cur_max> 6"]
    lines.append("CHARMAP")
    lines += [f"{_name(chr(code))} {_bytes(chr(code))} x" for code in range(0x180)]
    return "\n".join([*lines, "END CHARMAP", ""])


def _source() -> str:
    lower, upper = string.ascii_lowercase, string.ascii_uppercase
    classes = {
        "upper": upper,
        "lower": lower,
        "digit": string.digits,
        "space": " \t\n\r\f\v",
        "blank": " \t",
        "cntrl": "".join(map(chr, [*range(32), 127])),
        "punct": string.punctuation,
    }
    lines = ["comment_char %", "escape_char /", "LC_CTYPE"]
    lines += [f"{name} {';'.join(map(_name, members))}" for name, members in classes.items()]
    lines.append("toupper " + ";".join(f"({_name(a)},{_name(b)})" for a, b in zip(lower, upper, strict=True)))
    lines.append("tolower " + ";".join(f"({_name(b)},{_name(a)})" for a, b in zip(lower, upper, strict=True)))
    lines += ["END LC_CTYPE", "LC_COLLATE", "order_start forward;forward"]
    lines += [_name(char) for char in " " + string.punctuation + string.digits]
    for a, b in zip(lower, upper, strict=True):
        lines += [f"{_name(a)} {_name(a)};{_name(a)}", f"{_name(b)} {_name(a)};{_name(b)}"]
    return "\n".join([*lines, "UNDEFINED IGNORE;IGNORE", "order_end", "END LC_COLLATE", ""])


def _name(char: str) -> str:
    return f"<U{ord(char):04X}>"


def _bytes(char: str) -> str:
    return "".join(f"/x{byte:02x}" for byte in char.encode())


def _unavailable(reason: str) -> BackendUnavailable:
    return BackendUnavailable("postgres test server", "making a collation", reason)
