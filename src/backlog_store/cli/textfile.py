"""
Reading a file that a person writes: bounded, and every way to fail told.
"""

from __future__ import annotations

from pathlib import Path

from backlog_store.errors import ConfigError

__all__ = ["text_of"]


def text_of(path: Path, most: int, *, setting: str) -> str:
    """
    Return the text of a file that *setting* names, *most* characters at most. Raises `ConfigError`.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(4 * most + 1)
        is_long = len(content) > 4 * most
        text = "" if is_long else content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(setting, str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(setting, str(path), f"is not UTF-8 at byte {error.start}") from error
    if is_long or len(text) > most:
        raise ConfigError(setting, str(path), f"has more than {most:,} characters")
    return text
