"""
The guide to failover names what there is, and its files fit together.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "high-availability.md"
EXAMPLE = ROOT / "docs" / "examples" / "ha"


def test_every_file_of_the_example_is_explained_and_every_link_leads_somewhere() -> None:
    """The guide says of each configuration file where it goes, and links to nothing that is not there."""
    text = GUIDE.read_text(encoding="utf-8")
    links = {(GUIDE.parent / link).resolve() for link in re.findall(r"\]\((?!http)([^)#]+)\)", text)}
    assert all(link.exists() for link in links)
    assert {path for path in EXAMPLE.iterdir() if path.is_file()} <= links


def test_commands_of_the_guide_exist() -> None:
    """Scripts and tests that the guide names are there."""
    text = GUIDE.read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:scripts|tests)/[\w/.-]*\w", text))
    assert named
    assert all((ROOT / name).exists() for name in named)


def test_the_configuration_keeps_what_the_guide_promises() -> None:
    """The example replicates synchronously and strictly, syncs, and its times fit together as Patroni demands."""
    found = yaml.safe_load((EXAMPLE / "patroni.yml").read_text(encoding="utf-8"))["bootstrap"]["dcs"]
    assert (found["synchronous_mode"], found["synchronous_mode_strict"]) == (True, True)
    assert found["loop_wait"] + 2 * found["retry_timeout"] <= found["ttl"]
    parameters = found["postgresql"]["parameters"]
    assert {parameters[name] for name in ("fsync", "full_page_writes", "synchronous_commit")} == {"on"}
