"""
Editing fields of one item: what may be set, who holds it afterwards, what becomes of a changed key.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from backlog_store.codec import to_builtins
from backlog_store.commands import Edit, Outcome
from backlog_store.errors import RevisionConflict
from backlog_store.model import CLOSED, LIMITS, PRIORITIES, STATUSES, Item
from backlog_store.rules.checks import Checker, shorten
from backlog_store.rules.fields import EDITABLE, HOLDABLE, sorted_tags
from backlog_store.rules.lifecycle import check_holder, check_revision, held_by_actor, remember_closing, with_status
from backlog_store.rules.names import check_key_free, rekey
from backlog_store.rules.view import Context
from backlog_store.rules.voices import moved
from backlog_store.rules.wip import check_room_after

__all__ = ["edit"]


def edit(context: Context, body: Edit) -> Outcome:
    """
    Set fields, add and remove tags, release held fields; one event for all of it.
    """
    _check(context, body)
    item = context.item(body.id)
    check_revision(item, body.revision)
    _check_expected(item, body)
    wanted = dict(body.fields)
    if body.add_tags or body.remove_tags:
        tags = set(wanted.get("tags", item.tags)) | set(body.add_tags)
        wanted["tags"] = sorted_tags(tags - set(body.remove_tags))
    status = wanted.pop("status", item.status)
    values = {name: _value(name, value) for name, value in wanted.items()}
    values = {name: value for name, value in values.items() if value != getattr(item, name)}
    for name in (*values, *body.release):
        check_holder(context, item, name)
    edited = replace(item, **values)
    check_room_after(context, item, edited)
    if status != item.status:
        edited = with_status(context, edited, status, body.message)
    edited = _held(context, edited, body, [*values, *(["status"] if status != item.status else [])])
    if edited == item:
        return Outcome(verdict="unchanged", id=item.id, revision=item.revision, item=item)
    if edited.key != item.key:
        check_key_free(context, edited)
    edited = replace(moved(item, edited), updated_at=max(context.now, item.updated_at))
    result = context.put(item, edited, "edited" if status == item.status else "status_change", message=body.message)
    if edited.key != item.key:
        rekey(context, item, result)
    if status != item.status and status in CLOSED:
        remember_closing(context, result, body.message)
    return Outcome(verdict="updated", id=item.id, revision=result.revision, item=result)


def _value(name: str, value: Any) -> Any:
    if name == "tags":
        return sorted_tags(value)
    return to_builtins(value) if name in ("meta", "evidence_refs") else value


def _check_expected(item: Item, body: Edit) -> None:
    changed = [name for name, value in sorted(body.expect.items()) if _value(name, value) != getattr(item, name)]
    if changed:
        shown = [f"{name} was {shorten(body.expect[name])}, is {shorten(getattr(item, name))}" for name in changed]
        raise RevisionConflict(item.id, expected=body.revision, found=item.revision, detail=", ".join(shown))


def _held(context: Context, item: Item, body: Edit, changed: list[str]) -> Item:
    named = set(body.hold) if body.hold is not None else HOLDABLE
    # A person who sets a field to what it already is means it: that is held, too.
    touched = {*changed, *body.fields, *(["tags"] if body.add_tags or body.remove_tags else [])}
    item = held_by_actor(context, item, *sorted(touched & named & HOLDABLE), until=body.hold_until)
    if body.hold is not None and "status" in changed and "status" not in named:
        item = replace(item, held={name: by for name, by in item.held.items() if name != "status"})
    kept = {name: by for name, by in item.held.items() if name not in body.release}
    if kept == item.held and item.held_until.keys() <= kept.keys():
        return item
    return replace(item, held=kept, held_until={name: end for name, end in item.held_until.items() if name in kept})


def _check(context: Context, body: Edit) -> None:
    check = Checker("/fields")
    for name, value in body.fields.items():
        _check_field(check, name, value)
    check.prefix = ""
    check.tags("add_tags", body.add_tags)
    check.tags("remove_tags", body.remove_tags)
    check.text("message", body.message, LIMITS.message)
    check.instant("hold_until", body.hold_until)
    if body.hold_until and not check.faults and body.hold_until <= context.now:
        check.fault("hold_until", body.hold_until, "lies in the past; leave it out to hold without an end")
    for name, value in body.expect.items():
        if name not in (*EDITABLE, "updated_at"):
            check.fault(f"expect/{name}", value, f"one of {', '.join(EDITABLE)}, updated_at")
    for name in (*body.release, *(body.hold or ())):
        if name not in HOLDABLE:
            check.fault("release" if name in body.release else "hold", name, f"one of {', '.join(sorted(HOLDABLE))}")
    check.done("edit")


def _check_field(check: Checker, name: str, value: Any) -> None:
    match name:
        case "title":
            check.text(name, value, LIMITS.title, required=True)
        case "description":
            check.text(name, value, LIMITS.description)
        case "service" | "category" | "owner" | "fix" | "source":
            check.text(name, value, LIMITS.name)
        case "priority":
            check.one_of(name, value, PRIORITIES)
        case "status":
            check.one_of(name, value, STATUSES)
        case "due_date":
            check.day(name, value)
        case "tags":
            check.tags(name, value)
        case "meta":
            check.document(name, value, longest=LIMITS.meta_bytes)
        case "evidence_refs":
            check.evidence(value)
        case "env":
            check.env(value)
        case "dedupe_key":
            check.text(name, value, LIMITS.dedupe_key)
        case _:
            check.fault(name, value, f"no field that can be edited; those are {', '.join(EDITABLE)}")
