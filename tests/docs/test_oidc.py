"""
The guide to OIDC: its files are files, and each key and each code of a refusal stands there.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import fields

from backlog_store.web.oidc.config import CALLBACK, Grant, OidcConfig, load_config

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "oidc.md").read_text(encoding="utf-8")
FILES = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("text", FILES)
def test_the_files_of_the_guide_are_sound(text: str) -> None:
    """Each example can be used as it stands, but for names and hosts."""
    assert f"{load_config(text, is_toml=True).public_url}{CALLBACK}" in GUIDE


def test_every_key_is_described() -> None:
    """A key that the file may have stands in the guide."""
    assert [one.name for one in (*fields(OidcConfig), *fields(Grant)) if f"`{one.name}`" not in GUIDE] == []


def test_every_code_of_a_refusal_is_described() -> None:
    """What the code may say is in the table, and nothing else."""
    sources = (ROOT / "src" / "backlog_store" / "web" / "oidc").glob("*.py")
    said = {code for path in sources for code in re.findall(r'"(oidc_[a-z_]+)"', path.read_text(encoding="utf-8"))}
    assert said == set(re.findall(r"^\| `(oidc_\w+)`", GUIDE, re.MULTILINE))
