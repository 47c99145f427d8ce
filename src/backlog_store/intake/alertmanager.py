"""
The body of an Alertmanager webhook (version 4): firing alerts are problems, resolved ones say that they are gone.

One alert is one problem: what tells alerts apart for Alertmanager, all of their labels, tells them apart here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from msgspec import Raw, Struct

from backlog_store.errors import Fault, InvalidInput
from backlog_store.intake import text as t
from backlog_store.intake.jsontext import decode, read_json
from backlog_store.intake.keys import dedupe_key, fingerprint, fix_name, inputs
from backlog_store.intake.severity import priority
from backlog_store.intake.values import Finding, Notice, Parsed, Refusal, ReportContext, merge_context, observed
from backlog_store.model import LIMITS, Draft

__all__ = ["parse"]

#: Labels that name the service and the env, the first that is there.
SERVICE_LABELS = ("service", "app", "job")
ENV_LABELS = ("env", "environment")


class _Alert(Struct):
    labels: dict[str, str]
    annotations: dict[str, str] | None = None
    status: str | None = None
    startsAt: str | None = None  # noqa: N815 - Alertmanager's own names
    endsAt: str | None = None  # noqa: N815
    generatorURL: str | None = None  # noqa: N815


class _Body(Struct):
    alerts: list[Raw]
    status: str | None = None
    receiver: str | None = None
    externalURL: str | None = None  # noqa: N815
    truncatedAlerts: int | None = None  # noqa: N815


def parse(stream: BinaryIO, context: ReportContext) -> Iterator[Parsed]:
    """
    Yield each alert; those that Alertmanager left out of the body are told.
    """
    body = read_json(stream, _Body)
    if body.truncatedAlerts:
        yield Notice("/truncatedAlerts", f"Alertmanager left {body.truncatedAlerts} alerts out (max_alerts)", True)
    for index, raw in enumerate(body.alerts):
        pointer = f"/alerts/{index}"
        try:
            yield _finding(decode(raw, _Alert, pointer), body, pointer, context)
        except InvalidInput as error:
            yield Refusal(pointer, error.faults)


def _finding(alert: _Alert, body: _Body, pointer: str, context: ReportContext) -> Finding:
    labels, annotations = alert.labels, alert.annotations or {}
    name = labels.get("alertname", "")
    status = alert.status or body.status or "firing"
    if not name:
        raise InvalidInput([Fault(f"{pointer}/labels/alertname", "", "missing; an alert needs a name")], what="alert")
    if status not in ("firing", "resolved"):
        raise InvalidInput([Fault(f"{pointer}/status", status, "one of firing, resolved")], what="alert")
    env, service, source, category = merge_context(
        context, kind="Alertmanager", source="alertmanager", category="alert",
        service=t.mask(_first(labels, SERVICE_LABELS)), env=_first(labels, ENV_LABELS),
    )  # fmt: skip
    ordered = ", ".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    # A probed address may hold a password. The key is made of a digest of the labels as they are.
    masked = {label: t.mask(value) for label, value in sorted(labels.items())}
    shown = ", ".join(f'{label}="{value}"' for label, value in masked.items())
    summary = annotations.get("summary") or annotations.get("message") or annotations.get("title") or ""
    severity = labels.get("severity", "")
    resolved = status == "resolved"
    links = {"runbook": annotations.get("runbook_url", ""), "dashboard": annotations.get("dashboard_url", ""),
             "query": alert.generatorURL or "", "alertmanager": body.externalURL or ""}  # fmt: skip
    urls = t.addresses(links.values())
    description = (
        f"{t.steady(t.clip(t.clean(annotations.get('description', ''))))}\n\n"
        + t.bullet("Alert", t.code(t.clean(name)))
        + t.bullet("Labels", t.code(t.clean(shown)))
        + "".join(t.bullet(kind.capitalize(), t.link(kind, url)) for kind, url in links.items()
                  if t.addresses([url]))
    )  # fmt: skip
    draft = Draft(
        title=t.one_line(f"{name}: {t.clean(summary)}" if summary else f"{name} ({service})"),
        env=env,
        service=service,
        category=category,
        description=description.strip(),
        priority=priority(context, "alertmanager", severity),
        source=source,
        dedupe_key=dedupe_key("alertmanager", service, name, fingerprint(ordered)),
        evidence_refs={"urls": urls} if urls else {},
        tags=tuple(dict.fromkeys([*context.tags, "alert"])),
        meta={
            "labels": masked,
            "starts_at": alert.startsAt or "",
        },
        fix=fix_name("alert", service, name),
        key_inputs=inputs(service=service, alert=name, labels=shown[: LIMITS.message]),
        volatile=("starts_at",),
        observed_at=observed(alert.endsAt or "") if resolved else "",
    )
    return Finding(draft, pointer, resolved=resolved)


def _first(labels: dict[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")
