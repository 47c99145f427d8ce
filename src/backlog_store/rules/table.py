"""
Which rule decides which command. Whoever decides imports this, and with it all rules; reading needs none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from backlog_store.commands import (
    AbortRun,
    Access,
    ApplyPolicy,
    BeginRun,
    ClaimItem,
    Cleanup,
    Close,
    Comment,
    CompleteRun,
    Create,
    Deactivate,
    DropExpired,
    DropView,
    Edit,
    Escalate,
    JudgeRun,
    KeepPlan,
    LiftVerdict,
    Link,
    MarkSeen,
    Merge,
    Move,
    Outcome,
    ReleaseItem,
    RenewClaim,
    Reopen,
    Report,
    Resolve,
    SaveView,
    ShortenHistory,
    Snooze,
    Split,
    Undo,
    Webhooks,
)
from backlog_store.rules import (
    claiming,
    editing,
    forgetting,
    keeping,
    lifecycle,
    links,
    policies,
    runs,
    undoing,
    upsert,
)
from backlog_store.rules.view import Context

__all__ = ["MANY", "ONE"]


def _end_run(context: Context, body: CompleteRun | AbortRun | JudgeRun) -> tuple[Outcome, ...]:
    from backlog_store.rules.ending import end  # few commands end a run, and none of the others is to pay for it

    return end(context, body)


def _merge(context: Context, body: Merge) -> tuple[Outcome, ...]:
    from backlog_store.rules.identity import merge  # likewise

    return merge(context, body)


def _split(context: Context, body: Split) -> tuple[Outcome, ...]:
    from backlog_store.rules.identity import split

    return (split(context, body),)


def _escalate(context: Context, body: Escalate) -> Outcome:
    from backlog_store.rules.escalating import escalate

    return escalate(context, body)


def _deactivate(context: Context, body: Deactivate) -> tuple[Outcome, ...]:
    from backlog_store.rules.deactivating import deactivate

    return deactivate(context, body)


def _let_in(context: Context, body: Access) -> Outcome:
    from backlog_store.rules.granting import grant  # likewise

    return grant(context, body)


def _hook(context: Context, body: Webhooks) -> Outcome:
    from backlog_store.rules.hooking import hook  # likewise

    return hook(context, body)


#: One body, one outcome.
ONE: Mapping[type, Callable[[Context, Any], Outcome]] = {
    Create: lifecycle.create,
    Edit: editing.edit,
    Move: lifecycle.move,
    Close: lifecycle.close,
    Reopen: lifecycle.reopen,
    Snooze: lifecycle.snooze,
    Comment: lifecycle.comment,
    Link: links.link,
    ClaimItem: claiming.claim,
    RenewClaim: claiming.renew,
    ReleaseItem: claiming.release,
    LiftVerdict: keeping.lift_verdict,
    SaveView: keeping.save_view,
    KeepPlan: keeping.keep_plan,
    DropView: keeping.drop_view,
    MarkSeen: keeping.mark_seen,
    ApplyPolicy: policies.apply_policy,
    Escalate: _escalate,
    BeginRun: runs.begin,
    **dict.fromkeys(get_args(Access), _let_in),
    **dict.fromkeys(get_args(Webhooks), _hook),
}
#: One body, any number of outcomes.
MANY: Mapping[type, Callable[[Context, Any], tuple[Outcome, ...]]] = {
    Report: upsert.decide_report,
    Resolve: lifecycle.resolve,
    Cleanup: forgetting.cleanup,
    Deactivate: _deactivate,
    ShortenHistory: forgetting.shorten_history,
    DropExpired: forgetting.drop_expired,
    Undo: undoing.undo,
    Merge: _merge,
    Split: _split,
    CompleteRun: _end_run,
    AbortRun: _end_run,
    JudgeRun: _end_run,
}
