from typing import Any

import pytest

from backlog_store.codec import encode
from backlog_store.intake import Finding, ReportContext
from tests.unit.intake.reading import drafts, keys, load, notices, read, refusals


def alert(status: str = "firing", **labels: str) -> dict[str, Any]:
    """Return an alert of a webhook's body."""
    return {"status": status, "labels": {"alertname": "Down", "service": "checkout", **labels}}


def body(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a webhook's body."""
    return {"version": "4", "status": "firing", "alerts": list(alerts), **more}


def test_firing_and_resolved_are_the_same_problem() -> None:
    """The second real body resolves the first alert of the first one and lets the other fire."""
    firing, resolved = load("alertmanager-firing.json"), load("alertmanager-resolved.json")
    assert keys(firing) == keys(resolved)
    assert [False, False] == [one.resolved for one in firing if isinstance(one, Finding)]
    assert [True, False] == [one.resolved for one in resolved if isinstance(one, Finding)]
    assert "2026-11-23T10:00:00.000000Z" == drafts(resolved)[0].observed_at


@pytest.mark.parametrize(
    ("ends_at", "expected"),
    [
        ("2018-08-03T09:52:26.739266876+02:00", "2018-08-03T07:52:26.739266Z"),
        ("2018-08-03T09:52:26-05:00", "2018-08-03T14:52:26.000000Z"),
        ("2018-08-03T09:52:26Z", "2018-08-03T09:52:26.000000Z"),
        ("2018-08-03T09:52:26", ""),
        ("2018-08-03", ""),
        ("soon", ""),
    ],
)
def test_an_alert_ended_when_it_says_in_any_zone(ends_at: str, expected: str) -> None:
    """Alertmanager writes the zone of its machine; a time without one could be any."""
    (draft,) = drafts(read(body({**alert("resolved"), "endsAt": ends_at})))
    assert expected == draft.observed_at


def test_passwords_in_labels_and_links_are_masked() -> None:
    """A probe's label may be an address with a password; the key still tells such alerts apart."""
    probed = [{**alert(instance=f"https://app:{word}@shop.test/"), "generatorURL": f"https://u:{word}@prom.test/g"}
              for word in ("tr0ub4dor", "c0rrect")]  # fmt: skip
    parsed = read(body(*probed, externalURL="https://u:tr0ub4dor@am.test"))
    assert 2 == len(set(keys(parsed)))
    assert [] == [word for word in (b"tr0ub4dor", b"c0rrect") if word in b"".join(map(encode, drafts(parsed)))]
    assert "https://[redacted]@shop.test/" == drafts(parsed)[0].meta["labels"]["instance"]


def test_labels_name_service_env_and_priority() -> None:
    """What the alert says of itself wins over the command line."""
    critical, warning = drafts(load("alertmanager-firing.json", ReportContext(service="else", env="staging")))
    assert ("checkout", "prod", "P0", "alert") == (
        critical.service, critical.env, critical.priority, critical.category,
    )  # fmt: skip
    assert "P2" == warning.priority
    assert "https://runbooks.example.test/error-budget-burn" in critical.evidence_refs["urls"]


def test_each_set_of_labels_is_a_problem() -> None:
    """One instance's recovery must not close another's problem."""
    both = body(alert(instance="a"), alert(instance="b"))
    assert 2 == len(set(keys(read(both))))
    assert keys(read(both)) == keys(read(body(*reversed(both["alerts"]))))[::-1]


def test_an_alert_without_a_service_takes_the_contexts() -> None:
    """`--service` is used where no label names one; without either the alert is refused."""
    lone = body({"labels": {"alertname": "Down"}})
    assert ["infra"] == [draft.service for draft in drafts(read(lone, ReportContext(service="infra")))]
    assert ["/service"] == [one.faults[0].pointer for one in refusals(read(lone, ReportContext()))]


def test_what_alertmanager_left_out_is_told() -> None:
    """A cut body is incomplete."""
    (told,) = notices(read(body(alert(), truncatedAlerts=3)))
    assert told.incomplete
    assert "3 alerts" in told.reason


@pytest.mark.parametrize(
    ("bad", "pointer"),
    [
        ({"labels": {"alertname": 5}}, "/alerts/1/labels"),
        ({"labels": {"service": "x"}}, "/alerts/1/labels/alertname"),
        ({"labels": {"alertname": "x"}, "status": "gone"}, "/alerts/1/status"),
        ({}, "/alerts/1"),
        (5, "/alerts/1"),
    ],
)
def test_a_bad_alert_is_refused_and_the_others_go_on(bad: Any, pointer: str) -> None:
    """The refusal points at what is wrong."""
    parsed = read(body(alert(), bad, alert(instance="b")))
    assert [True] == [one.faults[0].pointer.startswith(pointer) for one in refusals(parsed)]
    assert 2 == len([one for one in parsed if isinstance(one, Finding)])
