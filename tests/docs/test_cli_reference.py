"""
The reference of the command line says what the commands say of themselves.
"""

from __future__ import annotations

import importlib.util
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click
import pytest

from backlog_store.cli.command import Place
from backlog_store.cli.main import SECTIONS, cli

ROOT = Path(__file__).parents[2]
PLACES = {name: place for places in SECTIONS.values() for name, place in places.items()}


def script() -> ModuleType:
    """
    Return the script that makes the pages.
    """
    spec = importlib.util.spec_from_file_location("make_cli_reference", ROOT / "scripts" / "make_cli_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["cli.md", "settings.md", "query.md", "exit-codes.md"])
def test_the_pages_are_those_that_the_code_makes(name: str) -> None:
    """
    Run scripts/make_cli_reference.py after a change of a command, a setting, a field or an exit code.
    """
    pages = {path.name: text for path, text in script().pages().items()}

    assert pages[name] == (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "place"), PLACES.items())
def test_every_command_is_where_the_overview_says(name: str, place: Place) -> None:
    """
    It has the name of the overview, a help text, and help for each option.
    """
    command = getattr(import_module(place.module), place.attribute)

    assert command.name == name
    assert command.help
    for option in command.params:
        assert isinstance(option, click.Argument) or option.help, option.name


def test_every_command_of_the_overview_is_found() -> None:
    """
    The overview names no command that is not there.
    """
    context = click.Context(cli)
    assert [name for name in cli.list_commands(context) if cli.get_command(context, name) is None] == []
