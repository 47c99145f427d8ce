"""
Make docs/reference/cli.md from ``--help``, and the tables in settings.md, query.md and exit-codes.md beside it.

    python scripts/make_cli_reference.py              writes them; a test holds them against the code
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from backlog_store import errors
from backlog_store.cli.main import SECTIONS, cli
from backlog_store.querylang import FIELD_HELP, IS_HELP
from backlog_store.settings import SETTINGS

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
_WIDTH = 100
_HEAD = """\
# Command line

<!-- Made by scripts/make_cli_reference.py from the commands themselves; edit there. -->

Data goes to stdout, talk to stderr; colour, paging and progress appear on a terminal only. With `--json` data is JSON,
an empty result is `[]`, and an error is one JSON object on stderr: `{"error": {"code": …, "message": …, "hint": …}}`.
[Exit codes](exit-codes.md), [settings](settings.md) and the [query language](query.md) have pages of their own.

An ID may be any unambiguous beginning of one, with or without `bl_`, or `@latest`: the item that you changed last.
Where a command takes a day, `today`, `fri`, `+3d`, `2w`, `eow`, `eom` and `2026-12-01` are days, all of them UTC.
"""


def help_of(command: click.Command, *names: str) -> Iterator[tuple[str, str]]:
    """
    Yield the name and the help of a command and of those in it.
    """
    # The width and the names of the help option are those of the command in use; a parent makes it a subcommand.
    settings = {**command.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
    parent = click.Context(cli) if len(names) > 1 else None
    with click.Context(command, info_name=" ".join(names), parent=parent, **settings) as context:
        yield " ".join(names), command.get_help(context)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from help_of(found, *names, name)


def cli_page() -> str:
    """
    Return the page of all commands.
    """
    parts = [_HEAD]
    headings = {f"backlog {name}": heading for heading, places in SECTIONS.items() for name in places}
    told = ""
    for name, text in help_of(cli, "backlog"):
        heading = headings.get(name, told)
        if heading and heading != told:
            parts.append(f"## {heading}\n")
            told = heading
        level = "##" if name == "backlog" else "###"
        parts.append(f"{level} {name}\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _settings() -> str:
    rows = ["| key in files | variable | default | values | meaning |", "|---|---|---|---|---|"]
    for setting in SETTINGS:
        values = ", ".join(f"`{choice}`" for choice in setting.choices) or "a text"
        key = f"`{setting.key}`" if setting.in_files else "not in files"
        default = f"`{setting.default}`" if setting.default else "none"
        rows.append(f"| {key} | `{setting.variable}` | {default} | {values} | {setting.help} |")
    return "\n".join(rows)


def _words(words: Mapping[str, str], prefix: str = "") -> str:
    rows = ["| term | meaning |", "|---|---|"]
    rows += [f"| `{prefix}{word}{'' if prefix else ':'}` | {meaning} |" for word, meaning in words.items()]
    return "\n".join(rows)


def _exit_codes() -> str:
    codes: dict[int, list[str]] = {}
    for cls, code in errors.EXIT_CODES.items():
        codes.setdefault(code, []).append(f"`{cls.__name__}`")
    return "\n".join(f"| {code} | {', '.join(names)} |" for code, names in sorted(codes.items()))


TABLES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "settings.md": {"settings": _settings},
    "query.md": {"fields": lambda: _words(FIELD_HELP), "conditions": lambda: _words(IS_HELP, "is:")},
    "exit-codes.md": {"classes": lambda: f"| code | errors |\n|---|---|\n{_exit_codes()}"},
}


def with_tables(page: str, tables: Mapping[str, Callable[[], str]]) -> str:
    """
    Return a page with the tables between its markers made anew. Raises `ValueError` for a marker that is missing.
    """
    for name, table in tables.items():
        marked = re.compile(rf"(<!-- table: {name} -->).*?(<!-- end -->)", re.DOTALL)
        if not marked.search(page):
            raise ValueError(f"no marker for the table {name}")
        page = marked.sub(lambda found, table=table: f"{found[1]}\n\n{table()}\n\n{found[2]}", page)  # type: ignore[misc]
    return page


def pages() -> dict[Path, str]:
    """
    Return each page as it must be.
    """
    made = {FOLDER / "cli.md": cli_page()}
    for name, tables in TABLES.items():
        path = FOLDER / name
        made[path] = with_tables(path.read_text(encoding="utf-8"), tables)
    return made


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
