"""
What the installed package says about itself.
"""

from __future__ import annotations

import tomllib
from importlib import metadata, resources
from pathlib import Path

import backlog_store

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_the_same_everywhere() -> None:
    """
    `backlog_store.__version__`, the project file and the installed metadata name one version.
    """
    assert PROJECT["version"] == backlog_store.__version__ == metadata.version("backlog-store")


def test_type_checkers_read_the_package() -> None:
    """
    The marker of PEP 561 is inside the package, so callers' type checkers see its annotations.
    """
    assert resources.files(backlog_store).joinpath("py.typed").is_file()


def test_every_extra_is_used() -> None:
    """
    An extra is listed when some code asks for it, not before.
    """
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(backlog_store.__file__).parent.rglob("*.py"))
    unused = [extra for extra in PROJECT["optional-dependencies"] if f"backlog-store[{extra}]" not in sources]
    assert unused == []
