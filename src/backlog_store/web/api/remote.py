"""
For `executors.remote`: commands and questions as they are, and the health of the store.
"""

from __future__ import annotations

from backlog_store.errors import NotAllowed
from backlog_store.executors.remote.wire import CommandAsked, PlanAsked, Question, answer
from backlog_store.rules.scoping import OF_ADMINS
from backlog_store.web.api.plans import check_command, plan_for
from backlog_store.web.routing import Ask, Reply, Routes

__all__ = ["routes"]

routes = Routes("/api/v1")


@routes.add("POST", "/commands", action="report", body=CommandAsked, answers={200: dict, 202: dict})
def execute_command(ask: Ask) -> Reply:
    """
    Carry out one command, as a program builds it. What the role does not include is refused.
    """
    asked = ask.body_as(CommandAsked)
    check_command(ask, asked.body, asked.source)
    backlog = ask.backlog
    if asked.source:
        backlog = backlog.acting_as(asked.source)
    if asked.preview:
        return Reply(data=backlog.preview(asked.body))
    holding = backlog.holding(asked.token)
    answered = holding.execute(asked.body, request_id=asked.request_id, batch=asked.batch, expect=asked.expect)
    return Reply(data=answered, status=202 if answered.accepted else 200)


@routes.add("POST", "/commands/plan", action="report", body=PlanAsked, answers={200: dict})
def execute_plan(ask: Ask) -> Reply:
    """
    Apply a plan that is kept, and answer what its commands answered; for people: `POST /plans/{token}/apply`.
    """
    return Reply(data=ask.backlog.apply(plan_for(ask, ask.body_as(PlanAsked).apply, to_apply=True)))


@routes.add("POST", "/questions", action="read", body=Question, answers={200: list})
def answer_question(ask: Ask) -> Reply:
    """
    Answer one question of the store's port, within what the asker reaches.
    """
    question, scope = ask.body_as(Question), ask.asker.scope
    is_of_admins = question.method in ("records", "scan") and question.kind in OF_ADMINS
    if is_of_admins and scope is not None and not scope.is_admin:
        # Seen from within, these are not there. Who asks for just them would take that for an answer.
        raise NotAllowed("asking who may sign in and who is told", "that is for admins who are bound to no part")
    return Reply(data=ask.backlog.read(lambda reader: answer(reader, question)))


@routes.add("GET", "/health", action="read", answers={200: dict})
def health(ask: Ask) -> Reply:
    """
    Tell in what condition the store is.
    """
    return Reply(data=ask.backlog.check())
