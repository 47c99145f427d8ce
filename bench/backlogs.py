"""
Drafts as they come in life, from a seed: skewed services, keys of real shape, a few hundred bytes of text.
"""

from __future__ import annotations

import random

from backlog_store.model import Draft

__all__ = ["drafts"]

_SERVICES = ("checkout", "search", "billing", "gateway", "ledger", "catalog", "mail", "reports", "auth", "media")
_RULES = ("B101", "B602", "S608", "CVE-2024-3772", "CVE-2023-4863", "E722", "slo:availability", "slo:latency")
_WORDS = (
    "the",
    "budget",
    "of",
    "this",
    "service",
    "burns",
    "faster",
    "than",
    "it",
    "may",
    "because",
    "requests",
    "to",
    "a",
    "dependency",
    "time",
    "out",
)


def drafts(count: int, *, seed: int = 1, first: int = 0) -> list[Draft]:
    """
    Return *count* drafts with distinct keys, numbered from *first*.
    """
    source = random.Random(seed)
    made = []
    for number in range(first, first + count):
        service = _SERVICES[min(int(source.expovariate(0.5)), len(_SERVICES) - 1)]
        rule = source.choice(_RULES)
        path = f"src/{service}/module_{number % 997}.py"
        text = " ".join(source.choice(_WORDS) for _ in range(40))
        made.append(
            Draft(
                title=f"{rule} in {path}",
                service=service,
                category="security",
                description=text,
                priority=source.choice(("P0", "P1", "P1", "P2", "P2", "P2", "P3")),
                source="scanner",
                dedupe_key=f"scanner:{service}:{rule}:{number}",
                tags=("scanner", rule.lower()),
                meta={"rule": rule, "path": path},
                fix=f"rule:{rule}:{path}",
            )
        )
    return made
