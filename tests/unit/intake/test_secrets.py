import json

import pytest

from backlog_store.codec import encode
from backlog_store.intake import Finding
from backlog_store.intake.text import mask
from tests.unit.intake.reading import REPORTS, drafts, keys, load, read, result, sarif

#: All made-up secrets of the reports in tests/assets.
SECRETS = (
    "correct-horse-battery-staple-1",
    "AKIAZZZZZZZZZZZZEXAM",
    "ghp_000000000000000000000000000000000FAKE",
    "hunter2-not-a-real-one",
    "swordfish-not-a-real-one",
    "fake-0000-not-a-real-key",
    "fake-1111-not-a-real-key",
)


@pytest.mark.parametrize("name", sorted(file.name for file in REPORTS.iterdir() if file.name != "README.md"))
def test_no_secret_of_a_report_reaches_a_draft(name: str) -> None:
    """Neither text nor key inputs nor evidence nor meta holds a secret that the report quotes."""
    stored = b"\n".join(encode(draft) for draft in drafts(load(name))).decode()
    assert [] == [secret for secret in SECRETS if secret in stored]


def test_the_reports_do_hold_secrets() -> None:
    """Each made-up secret stands in some report, so that the test above can fail."""
    everything = "".join(file.read_text(encoding="utf-8") for file in REPORTS.iterdir())
    assert [] == [secret for secret in SECRETS if secret not in everything]


@pytest.mark.parametrize(
    ("tool", "rule", "rules"),
    [
        ("gitleaks", "generic", []),
        ("TruffleHog", "x", []),
        ("Semgrep OSS", "generic.secrets.detected-private-key", []),
        ("Bandit", "B105", []),
        ("lint", "x", [{"id": "x", "properties": {"tags": ["external/cwe/cwe-798"]}}]),
        ("lint", "x", [{"id": "x", "name": "hard-coded credentials"}]),
    ],
)
def test_rules_about_secrets_keep_neither_snippet_nor_quotes(tool: str, rule: str, rules: list[object]) -> None:
    """A rule is about secrets by its tool, its name, its tags or its weakness."""
    found = result(rule, snippet='key = "tr0ub4dor"', message="found 'tr0ub4dor' and \"tr0ub4dor\" and `tr0ub4dor`")
    (draft,) = drafts(read(sarif(found, tool={"driver": {"name": tool, "rules": rules}})))
    assert b"tr0ub4dor" not in encode(draft)


def test_a_rotated_secret_is_the_same_finding() -> None:
    """The secret is no part of its key: another one at the same place is the same problem."""
    one, other = (
        read(sarif(result("B105", snippet=f'key = "{secret}"', message=f"Possible hardcoded password: '{secret}'"),
                   tool={"driver": {"name": "Bandit"}}))
        for secret in ("tr0ub4dor", "c0rrect-h0rse")
    )  # fmt: skip
    assert keys(one) == keys(other)


def test_two_secrets_in_one_file_are_two_findings() -> None:
    """Without snippet and secret they are told apart by number."""
    assert 3 == len(set(keys(load("gitleaks.sarif"))))


def test_ordinary_rules_keep_their_snippet() -> None:
    """Only rules about secrets lose it."""
    (draft,) = drafts(read(sarif(result(snippet="x = compute()"))))
    assert "x = compute()" in draft.description


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "0aB1" * 9,
        "github_pat_" + "0aB1" * 9,
        "glpat-" + "0aB1" * 5,
        "xoxb-" + "1234567890-abc",
        "sk_live_" + "0aB1" * 6,
        "AIza" + "0aB1x" * 7,
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_well_known_secrets_are_masked_wherever_they_stand(secret: str) -> None:
    """A rule about something else may quote a line with a secret in it."""
    found = result(message=f"too long: {secret} here", snippet=f'call("{secret}")')
    (draft,) = drafts(read(sarif(found)))
    assert secret not in json.loads(encode(draft))["description"]
    assert secret.encode() not in encode(draft)


def test_passwords_in_addresses_are_masked() -> None:
    """An address keeps its host and loses user and password."""
    assert "postgresql://[redacted]@db.example.test/shop" == mask("postgresql://app:pa55@db.example.test/shop")


def test_a_neighbouring_secret_is_not_kept_either() -> None:
    """Trivy masks the match and quotes the lines around it in clear; none of them is stored."""
    found = [one for one in load("trivy.json") if isinstance(one, Finding) and "secret" in one.draft.tags]
    assert 1 == len(found)
    assert "GITHUB_PAT" not in repr(found)
