"""
Which policy is in force, and how another one comes into force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from backlog_store.backends.port import Reader
from backlog_store.codec import from_builtins, to_builtins
from backlog_store.commands import ApplyPolicy, Outcome
from backlog_store.errors import NotAllowed, RevisionConflict
from backlog_store.model import CURRENT_POLICY, LIMITS, POLICY_TRAIL, Event, Item, Record, RecordKind
from backlog_store.policy import DEFAULT_POLICY, Policy, record_id
from backlog_store.rules.checks import Checker
from backlog_store.rules.view import Context

if TYPE_CHECKING:
    from backlog_store.policy.stored import InForce, Kept

__all__ = [
    "CURRENT_RECORD",
    "apply_policy",
    "check_guards",
    "in_force",
    "kept_by_guard",
    "policy_in_force",
    "policy_records",
]

#: The small record that every decision reads.
CURRENT_RECORD: tuple[RecordKind, str] = ("policy", CURRENT_POLICY)
#: Policies decoded in this process: a revision of a digest is the same policy for ever.
_decoded: dict[tuple[int, str, str], Policy] = {}
_DECODED_MAX = 8


def in_force(record: Callable[[RecordKind, str], Record | None], default: Policy = DEFAULT_POLICY) -> Policy:
    """
    Return the policy in force; *record* reads one record. Where none was ever applied: *default*.
    """
    current = record(*CURRENT_RECORD)
    if current is None:
        return default
    body = current.body
    known = _decoded.get((body["revision"], body["digest"], body["at"]))
    if known is not None:
        return known
    from backlog_store.policy.stored import policy_of  # only where there is one: it brings all sections

    kept = record("policy", record_id(body["revision"]))
    if kept is None:
        raise NotAllowed("deciding", f"the policy in force, revision {body['revision']}, is not in the store",
                         hint="`backlog verify` tells what else is missing.")  # fmt: skip
    policy = policy_of(kept.body)
    while len(_decoded) >= _DECODED_MAX:
        _decoded.pop(next(iter(_decoded)), None)
    _decoded[body["revision"], body["digest"], body["at"]] = policy
    return policy


def policy_in_force(reader: Reader, default: Policy = DEFAULT_POLICY) -> Policy:
    """
    Return the policy in force in a view of the store.
    """

    def record(kind: RecordKind, id: str) -> Record | None:
        return reader.records(kind, [id]).get(id)

    return in_force(record, default)


def policy_records(reader: Reader) -> Iterator[Record]:
    """
    Yield the record of the policy in force, and the one that holds its text.
    """
    current = reader.records("policy", [CURRENT_POLICY]).get(CURRENT_POLICY)
    if current is not None:
        yield current
        yield from reader.records("policy", [record_id(current.body["revision"])]).values()


def check_guards(context: Context, item: Item, to: str, *, reason: str = "", message: str = "", approver: str = "",
                 ) -> None:  # fmt: skip
    """
    Refuse a move or a closing that a guard of the workflow in force does not let through. Raises `NotAllowed`.
    """
    workflow = context.policy.workflow
    if workflow is None or not workflow.guards:
        return
    refused = workflow.refused_by(item, context.actor, from_=item.status, to=to, reason=reason, message=message,
                                  approver=approver)  # fmt: skip
    if refused is not None:
        number, guard, want = refused
        said = context.policy.said_at(f"/workflow/guards/{number}", guard.name)
        place = f", line {said['line']}" if "line" in said else ""
        action = f"closing {item.id} as {reason}" if reason else f"moving {item.id} from {item.status} to {to}"
        raise NotAllowed(action, f"{want} (policy {context.policy.revision}, guard {guard.name!r}{place})",
                         hint="`backlog policy show` prints the policy in force.")  # fmt: skip


def kept_by_guard(context: Context, item: Item, proof: str) -> str:
    """
    Return why a guard of the workflow keeps an item open whose source says that it is gone; empty if none does.
    """
    try:
        check_guards(context, item, "done", reason="fixed", message=proof)
    except NotAllowed as error:
        return error.reason
    return ""


def apply_policy(context: Context, body: ApplyPolicy) -> Outcome:
    """
    Put a policy in force.
    """
    from backlog_store.policy import stored
    from backlog_store.policy.loading import require_policy

    check = Checker()
    check.text("message", body.message, LIMITS.message)
    check.text("name", body.name, LIMITS.message)
    check.done("policy")
    if context.actor.kind != "person":
        raise NotAllowed("applying a policy", f"{context.actor.name} is a machine", hint="A person does this.")
    current = context.record(*CURRENT_RECORD)
    now = from_builtins(current.body, stored.InForce) if current is not None else None
    revision = now.revision if now is not None else 0
    if body.over != revision:
        raise RevisionConflict(
            "policy", expected=body.over, found=revision, detail=f"revision {revision} is in force, not {body.over}"
        )
    loaded = require_policy(body.text, format=body.format, files=body.files)
    assert loaded.policy is not None
    policy = replace(loaded.policy, revision=revision + 1)
    kept = stored.Kept(
        revision=policy.revision, digest=stored.digest_of(policy), by=context.actor.name, at=context.now,
        document=stored.document_of(policy), text=body.text, format=body.format, name=body.name, message=body.message,
        lines=policy.lines, files=policy.files,
    )  # fmt: skip
    if now is not None:
        before = context.record("policy", record_id(revision))
        if before is not None and (before.body["text"], before.body.get("files", {})) == (kept.text, kept.files):
            return Outcome(verdict="unchanged", id=POLICY_TRAIL, revision=revision)
    event = _event(context, kept, now)
    context.put_record("policy", record_id(policy.revision), to_builtins(kept))
    standing = stored.InForce(revision=policy.revision, digest=kept.digest, by=kept.by, at=kept.at, head=event.hash,
                              message=kept.message)  # fmt: skip
    context.put_record(*CURRENT_RECORD, to_builtins(standing), event=event)
    return Outcome(verdict="updated", id=POLICY_TRAIL, revision=policy.revision)


def _event(context: Context, kept: Kept, now: InForce | None) -> Event:
    return context.event(
        POLICY_TRAIL, kept.revision, "policy_applied", kept.message, prev=now.head if now is not None else "",
        meta={"digest": kept.digest, "name": kept.name, "before": now.digest if now is not None else ""},
    )  # fmt: skip
