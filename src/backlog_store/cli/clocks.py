"""
How clocks of targets are told to people.
"""

from __future__ import annotations

from backlog_store.policy import rule_in_words
from backlog_store.rules.escalating import StepState
from backlog_store.rules.sla import SlaState

__all__ = ["in_words", "step_in_words"]


def in_words(clock: SlaState) -> str:
    """
    Return how a clock stands, as a line for people.
    """
    hours = "working hours" if clock.calendar else "hours"
    rule = rule_in_words(clock.rule, clock.line)
    if clock.state == "unknown":
        return f"the beginning of this episode was let go ({rule})"
    left = f"{abs(clock.left_s) / 3_600:.1f} {hours} {'over' if clock.left_s < 0 else 'left'}"
    ends = {"breached": "since", "running": "until"}.get(clock.state, "") if clock.ends_at else ""
    when = f", {ends} {clock.ends_at[:10]} {clock.ends_at[11:16]} UTC" if ends else ""
    return f"{left} of {clock.target_s / 3_600:g}{when} ({rule})"


def step_in_words(step: StepState) -> str:
    """
    Return how an item stands to a step of escalation, as a line for people.
    """
    hours = "working hours" if step.calendar else "hours"
    rule = rule_in_words(step.rule, step.line)
    told = f", to tell {', '.join(step.notify)}" if step.notify else ""
    for word, instant in (("at", step.at), ("since", step.since), ("at", step.ends_at)):
        if instant:
            told += f", {word} {instant[:10]} {instant[11:16]} UTC"
    return f"after {step.after_s / 3_600:g} {hours} {step.clock}{told} ({rule})"
