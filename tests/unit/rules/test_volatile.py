"""
The lint of keys: what changes from report to report is named, and what belongs to a problem is not.
"""

from __future__ import annotations

import pytest

from backlog_store import Backlog
from backlog_store.query import EventQuery
from backlog_store.rules.volatile import varies, volatile_parts


@pytest.mark.parametrize(
    ("key", "kind", "text"),
    [
        ("nightly:2026-03-01T09:30:00Z", "timestamp", "2026-03-01T09:30:00Z"),
        ("digest:2026-03-01", "timestamp", "2026-03-01"),
        ("req:123e4567-e89b-12d3-a456-426614174000", "UUID", "123e4567-e89b-12d3-a456-426614174000"),
        ("crash at 0x7ffee4c0", "hexadecimal address", "0x7ffee4c0"),
        ("test:/tmp/pytest-of-ci/x", "temporary path", "/tmp/pytest-of-ci/x"),
        ("down:10.0.0.1:9090", "port", "10.0.0.1:9090"),
        ("ruff:F401:app.py:12", "line number", ".py:12"),
        ("ci:build-4711", "run id", "build-4711"),
        ("order:100200300", "long number", "100200300"),
    ],
)
def test_a_volatile_part_is_named(key: str, kind: str, text: str) -> None:
    """Each kind is told by its name, with the text that holds it, in a key as in an input."""
    assert [(part.kind, part.text, part.input) for part in volatile_parts(key, {})] == [(kind, text, "")]
    found = [(part.kind, part.input) for part in volatile_parts("k", {"where": key})]
    assert found == [(kind, "where")]


@pytest.mark.parametrize(
    "key",
    ["slo:checkout:latency", "pip-audit:shop:jinja2:CVE-2024-22195", "sarif:shop:ruff:F401:k3jq7a2m4d6f8h2a",
     "GHSA-h5c8-rqwp-cp95", "python3.11", "p99", "http:500", "test_case[10-20]"],
)  # fmt: skip
def test_what_belongs_to_a_problem_is_left_alone(key: str) -> None:
    """Ids of vulnerabilities, fingerprints, versions and status codes do not change from report to report."""
    assert volatile_parts(key, {"rule": key}) == []


def test_gitlab_371399_a_key_reported_about_two_things_is_made_visible(machine: Backlog, person: Backlog) -> None:
    """Reports of one key that name several rules are told; words that differ are not."""
    id = machine.upsert(title="x", dedupe_key="k", source="s", key_inputs={"rule": "A"}).id
    machine.upsert(title="other words", dedupe_key="k", source="s", key_inputs={"rule": "A"})

    def found() -> dict[str, tuple[str, ...]]:
        return varies(machine.get(id), machine.events(EventQuery(item_ids=(id,))))

    assert found() == {}
    machine.upsert(title="y", dedupe_key="k", source="s", key_inputs={"rule": "B"})
    assert found() == {"rule": ("A", "B")}
