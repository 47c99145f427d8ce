"""
The pages about policies say what the code does: every key is described, and the example is the one that is tested.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import msgspec.inspect as mi
import pytest

from backlog_store.policy.loading import load_policy
from backlog_store.policy.sections import SECTIONS
from backlog_store.policy.typed import struct_fields

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "examples" / "policy"


def script() -> ModuleType:
    """
    Return the script that makes the page.
    """
    spec = importlib.util.spec_from_file_location("make_policy", ROOT / "scripts" / "make_policy_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_structs_say() -> None:
    """Run scripts/make_policy_reference.py after a change of a section."""
    assert script().render() == (ROOT / "docs" / "reference" / "policy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_described(section: str) -> None:
    """Whoever writes a policy finds for each key what it means."""
    page = script()
    seen: set[type] = set()
    waiting: list[type] = [SECTIONS[section]]
    silent = []
    while waiting:
        cls = waiting.pop()
        seen.add(cls)
        for field in struct_fields(cls):
            if not page.described(field.type)[1]:
                silent.append(f"{cls.__name__}.{field.encode_name}")
            waiting += [inner for inner in page.structs(field.type) if inner not in seen]
    assert silent == []
    assert isinstance(mi.type_info(SECTIONS[section]), mi.StructType)


def test_the_example_of_the_guide_is_the_one_that_is_shipped() -> None:
    """What the guide shows is the file, which has neither fault nor warning."""
    text = (FOLDER / "policy.yaml").read_text(encoding="utf-8")
    guide = (ROOT / "docs" / "guides" / "policy.md").read_text(encoding="utf-8")
    shown = guide.partition("<!-- example -->")[2].partition("<!-- end -->")[0]
    assert shown.strip() == f"```yaml\n{text}```"
    owners = (FOLDER / ".github" / "CODEOWNERS").read_text(encoding="utf-8")
    assert load_policy(text, files={".github/CODEOWNERS": owners}).findings == ()


def test_the_fault_that_the_guide_shows_is_drawn_so() -> None:
    """The caret of the guide stands where the program puts it."""
    guide = (ROOT / "docs" / "guides" / "policy.md").read_text(encoding="utf-8")
    shown = guide.partition("$ backlog policy check policy.yaml\n")[2].partition("1 fault")[0]
    line = shown.splitlines()[1].partition("| ")[2]
    above = (
        "priority:\n  rules:\n    - set: P3\n      when: {env: a}\n    - set: P2\n      when: {env: b}\n    - set: P0\n"
    )
    text = "#\n" * 18 + above + f"{line}\n"
    assert list(load_policy(text).drawn("policy.yaml")) == shown.splitlines()
