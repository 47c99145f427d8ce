"""
The friendly face of a store: one method a command or a query.

::

    from backlog_store import open_backlog

    with open_backlog("sqlite:///backlog.db") as backlog:
        outcome = backlog.upsert(title="Checkout burns its error budget", service="checkout", dedupe_key="slo:checkout")
        print(outcome.verdict, outcome.id)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from msgspec.structs import replace

from backlog_store import commands as c
from backlog_store.access import Scope
from backlog_store.backends.registry import AUTO, SERVERS, load, open_backend
from backlog_store.clock import Clock, IdSource, system_clock, system_ids
from backlog_store.errors import BacklogError, NotAllowed
from backlog_store.executors.local import Executor, LocalExecutor
from backlog_store.ids import batch_id
from backlog_store.instants import Instant, add_seconds
from backlog_store.model import LIMITS, Actor, Draft, Item, ItemId
from backlog_store.policy import DEFAULT_POLICY, Policy, PolicyFormat
from backlog_store.reading import ReadableBacklog

if TYPE_CHECKING:
    from backlog_store.maintenance import Maintained
    from backlog_store.planning import Applied, Plan, Planner
    from backlog_store.rules.lanes import Run
    from backlog_store.running import Ended, Running
    from backlog_store.work import Work

__all__ = ["Backlog", "open_backlog"]

_DAY_S = 86_400
#: Events that one step of `undo` sets back.
_UNDONE_A_STEP = 1_000

T = TypeVar("T")


def open_backlog(
    url: str,
    *,
    actor: str | Actor = "library",
    clock: Clock = system_clock,
    ids: IdSource = system_ids,
    policy: Policy = DEFAULT_POLICY,
    lazily: bool = False,
    **options: Any,
) -> Backlog:
    """
    Open the backlog at *url*: ``sqlite:///path``, ``jsonl:///folder``, ``postgresql://…``, ``memory://``, ``null://``.

    ``https://host`` is a server (`backlog serve`), asked with the option *token*; who acts is whom that names.
    ``auto+postgresql://…`` is that database, and lives through its outages: see `executors.failover.opening` for the
    options *spool* and *copy*. *actor* given as a text is a machine. All that writing needs is imported now, or,
    *lazily*, when it is needed: a process that only reads starts faster. *options* go to the backend. Raises
    `ConfigError` for a URL that names no backend, `BackendUnavailable`, `SchemaMismatch`, `DataCorrupt`.
    """
    if url.strip().lower().startswith(AUTO):
        from backlog_store.executors.failover.opening import open_failover  # only who asks for it pays for it

        failover = open_failover(url, clock=clock, ids=ids, policy=policy, **options)
        return Backlog(failover, actor=actor, clock=clock, ids=ids)
    if url.strip().lower().startswith(SERVERS):
        from backlog_store.executors.remote import RemoteExecutor  # likewise

        return Backlog(RemoteExecutor(url.strip(), **options), actor=actor, clock=clock, ids=ids)
    if not lazily:
        load(url)
    local = LocalExecutor(open_backend(url, **options), policy=policy, lazily=lazily)
    return Backlog(local, actor=actor, clock=clock, ids=ids)


class Backlog(ReadableBacklog):
    """
    A backlog. Safe for use by several threads; close it, or use it as a context manager.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        actor: str | Actor = "library",
        clock: Clock = system_clock,
        ids: IdSource = system_ids,
        scope: Scope | None = None,
    ) -> None:
        super().__init__(executor, clock=clock, scope=scope)
        self.actor = Actor(actor) if isinstance(actor, str) else actor
        self.ids = ids
        self.token = 0

    def acting_as(self, name: str, *, person: bool = False, scope: Scope | None = None) -> Backlog:
        """
        Return the same backlog for another actor; closing either closes both.

        *scope* is the part that it reaches (``None``: as much as this one); what lies outside does not exist for it.
        """
        actor = Actor(name, "person" if person else "machine")
        return Backlog(self.executor, actor=actor, clock=self.clock, ids=self.ids, scope=scope or self.scope)

    def holding(self, token: int) -> Backlog:
        """
        Return the same backlog for writes under the claim of this token: they are refused once it is over.
        """
        backlog = Backlog(self.executor, actor=self.actor, clock=self.clock, ids=self.ids, scope=self.scope)
        backlog.token = token
        return backlog

    # Commands

    def command(self, body: c.Body, *, request_id: str = "", batch: str = "") -> c.Command:
        """
        Return *body* as a command of this actor, its instant and seed drawn now.
        """
        return c.Command(
            body=body, actor=self.actor, at=self.clock(), seed=self.ids(), request_id=request_id, batch=batch,
            scope=self.scope, token=self.token,
        )  # fmt: skip

    def execute(self, body: c.Body, *, request_id: str = "", batch: str = "", expect: str = "") -> c.Answer:
        """
        Carry a command out. With a *request_id* it may be asked again and happens once.

        *expect* is the digest of what a preview decided (`preview.digest_of`): another decision is `PlanChanged`.
        """
        command = self.command(body, request_id=request_id, batch=batch)
        return self.executor.execute(replace(command, expect=expect) if expect else command)

    def preview(self, body: c.Body) -> c.Answer:
        """
        Return what a command would answer now; nothing is written.
        """
        return self.executor.preview(self.command(body))

    def planner(self) -> Planner:
        """
        Return what decides commands one after the other and writes nothing; see `planning`.
        """
        from backlog_store.planning import Planner  # few plan, and none of the others is to pay for it

        return Planner(self)

    def apply(self, plan: Plan) -> Applied:
        """
        Carry a plan out, exactly, as one batch. Raises `PlanChanged`, with what changed since it was made.
        """
        from backlog_store.planning import apply_plan

        return apply_plan(self, plan)

    def create(self, draft: Draft | Mapping[str, Any], *, status: str = "open", request_id: str = "") -> c.Outcome:
        """
        Add one item that must not be there yet. Raises `AlreadyExists`, `InvalidInput`.
        """
        from backlog_store.rules import draft_from  # who only reads needs no rules

        return self._one(c.Create(draft=draft_from(draft), status=status), request_id)

    def upsert(
        self, draft: Draft | Mapping[str, Any] | None = None, *, request_id: str = "", **fields: Any
    ) -> c.Outcome:
        """
        Report one problem; give a draft, or its fields. A faulty draft raises `InvalidInput`.
        """
        from backlog_store.rules import check_draft, draft_from

        value = draft_from(draft if draft is not None else fields)
        outcome = self._one(c.Report(drafts=(value,)), request_id)
        if outcome.verdict == "refused":
            check_draft(value)
            raise BacklogError(outcome.why)
        return outcome

    def report(
        self,
        drafts: Iterable[Draft | Mapping[str, Any]],
        *,
        opens: bool = True,
        baseline: bool = False,
        due_days: Mapping[str, int] | None = None,
        run: str = "",
        request_id: str = "",
        batch: str = "",
        dry_run: bool = False,
        chunk: int = LIMITS.drafts_per_command,
    ) -> Iterator[tuple[Draft, c.Outcome]]:
        """
        Report any number of problems, streaming; yield each sound draft with its outcome.

        Applied in chunks of *chunk* drafts sorted by key, each one transaction with its own request id, so that a
        report of any size is bounded and can be resumed. All chunks are one batch for `undo`. Nothing happens until
        the result is iterated.
        """
        batch = batch or batch_id(self.ids())
        number = 0
        buffer: list[Draft] = []

        def flush() -> list[tuple[Draft, c.Outcome]]:
            nonlocal number
            order = sorted(buffer, key=lambda draft: (draft.env, draft.dedupe_key))
            body = c.Report(drafts=tuple(order), opens=opens, baseline=baseline, due_days=dict(due_days or {}), run=run)
            chunk_request = f"{request_id}/{number}" if request_id else ""
            number += 1
            buffer.clear()
            answer = self.preview(body) if dry_run else self.execute(body, request_id=chunk_request, batch=batch)
            return list(zip(order, answer.outcomes, strict=True))

        from backlog_store.rules import draft_from

        for draft in drafts:
            buffer.append(draft_from(draft))
            if len(buffer) >= chunk:
                yield from flush()
        if buffer:
            yield from flush()

    def resolve(
        self, env: str, source: str, dedupe_keys: Sequence[str], *, proof: str, request_id: str = ""
    ) -> c.Answer:
        """
        Say that a source sees these problems no more; closes what nobody else claims or holds.
        """
        return self.execute(c.Resolve(env=env, source=source, dedupe_keys=tuple(dedupe_keys), proof=proof),
                            request_id=request_id)  # fmt: skip

    def begin_run(self, source: str, *, services: Sequence[str], env: str = "prod", ref: str = "",
                  rules: Sequence[str] = (), name: str = "") -> Running:  # fmt: skip
        """
        Begin a pass of *source* over a scope, to be completed or aborted; see `running` and `commands.BeginRun`.
        """
        scope = c.RunScope(services=tuple(services), env=env, ref=ref, rules=tuple(rules))
        batch = batch_id(self.ids())
        begun = self.execute(c.BeginRun(source=source, scope=scope, name=name), batch=batch).outcomes[0]
        from backlog_store.running import Running  # few run, likewise

        return Running(self, source, begun.id, begun.verdict, batch)

    def accept_run(self, run: str, *, message: str = "") -> Ended:
        """
        Let a parked run do what it was parked with, or say that an empty or short one was complete. For people.
        """
        from backlog_store.running import end_run, find_run

        return end_run(self, c.JudgeRun(run=find_run(self, run)[0], accept=True, message=message))

    def reject_run(self, run: str, *, message: str = "") -> Ended:
        """
        Say that a parked run proves nothing. For people.
        """
        from backlog_store.running import end_run, find_run

        return end_run(self, c.JudgeRun(run=find_run(self, run)[0], accept=False, message=message))

    def run(self, name: str) -> tuple[str, Run]:
        """
        Return a run by its id, its name or an unambiguous beginning. Raises `NotFound`, `AmbiguousId`.
        """
        from backlog_store.running import find_run

        return find_run(self, name)

    def runs(self) -> Iterator[tuple[str, Run]]:
        """
        Yield the runs that are remembered, by lane, in the order in which they began.
        """
        from backlog_store.running import each_run

        return each_run(self)

    def proposals(self, run: str) -> tuple[list[Item], list[Draft]]:
        """
        Return what a parked run would close, and the reports by which it would reopen items.
        """
        from backlog_store.running import find_run, proposals

        return proposals(self, find_run(self, run)[0])

    def edit(self, id: ItemId, *, revision: int = 0, message: str = "", add_tags: Sequence[str] = (),
             remove_tags: Sequence[str] = (), release: Sequence[str] = (), request_id: str = "", **fields: Any,
             ) -> c.Outcome:  # fmt: skip
        """
        Set fields of an item, add and remove tags, release fields that a person holds.
        """
        body = c.Edit(id=self.id_of(id), fields=fields, add_tags=tuple(add_tags), remove_tags=tuple(remove_tags),
                      release=tuple(release), revision=revision, message=message)  # fmt: skip
        return self._one(body, request_id)

    def move(self, id: ItemId, to: str, *, revision: int = 0, message: str = "", request_id: str = "") -> c.Outcome:
        """
        Move an item along the workflow. Raises `TransitionNotAllowed` naming the allowed moves.
        """
        return self._one(c.Move(id=self.id_of(id), to=to, revision=revision, message=message), request_id)

    def close_item(self, id: ItemId, reason: str = "fixed", *, message: str = "", approver: str = "",
                   expires_at: Instant = "", duplicate_of: ItemId = "", revision: int = 0, request_id: str = "",
                   ) -> c.Outcome:  # fmt: skip
        """
        Close an item with a reason; see `commands.Close`.
        """
        other = self.id_of(duplicate_of) if duplicate_of else ""
        body = c.Close(id=self.id_of(id), reason=reason, message=message, approver=approver, expires_at=expires_at,
                       duplicate_of=other, revision=revision)  # fmt: skip
        return self._one(body, request_id)

    def accept(
        self, id: ItemId, *, approver: str, expires_at: Instant, message: str = "", request_id: str = ""
    ) -> c.Outcome:
        """
        Accept the risk of an item until an instant.
        """
        return self.close_item(id, "accepted_risk", approver=approver, expires_at=expires_at, message=message,
                               request_id=request_id)  # fmt: skip

    def reopen(self, id: ItemId, message: str, *, revision: int = 0, request_id: str = "") -> c.Outcome:
        """
        Reopen a closed item, with a reason.
        """
        return self._one(c.Reopen(id=self.id_of(id), message=message, revision=revision), request_id)

    def snooze(self, id: ItemId, until: Instant, *, message: str = "", request_id: str = "") -> c.Outcome:
        """
        Let an item sleep until an instant (empty: wake it).
        """
        return self._one(c.Snooze(id=self.id_of(id), until=until, message=message), request_id)

    def comment(self, id: ItemId, message: str, *, request_id: str = "") -> c.Outcome:
        """
        Add a comment.
        """
        return self._one(c.Comment(id=self.id_of(id), message=message), request_id)

    def link(
        self, id: ItemId, kind: c.LinkKind, other: ItemId, *, remove: bool = False, request_id: str = ""
    ) -> c.Outcome:
        """
        Join (or part) two items.
        """
        return self._one(c.Link(id=self.id_of(id), kind=kind, other=self.id_of(other), remove=remove), request_id)

    def lift_verdict(self, dedupe_key: str, *, env: str = "prod", message: str = "") -> c.Outcome:
        """
        Lift what was decided about a key.
        """
        return self._one(c.LiftVerdict(env=env, dedupe_key=dedupe_key, message=message), "")

    def cleanup(self, retention_days: int | None = None, *, env: str = "") -> int:
        """
        Purge closed items untouched for so long (by default as `maintain`); return how many. Their verdicts stay.
        """
        from backlog_store import maintenance  # only who asks for it pays for it

        done = maintenance.Maintained()
        days = self.read(maintenance.kept_days)[0] if retention_days is None else retention_days
        maintenance.purge(self, done, retention_days=days, env=env)
        return done.purged

    def maintain(self, retention_days: int | None = -1, *, env: str = "", history_days: int | None = -1) -> Maintained:
        """
        Let go of what is past its time, in bounded steps, and tell what.

        That is: records that expired, closed items untouched for *retention_days* (``None``: none), and what happened
        more than *history_days* ago (``None``: nothing). -1 is what `retention` of the policy in force says; without
        it, 180 days and nothing. No writer waits longer than for one step. Interrupted, call it again. The command
        line's ``cleanup``. Raises `NotAllowed` for less than the policy says.
        """
        from backlog_store import maintenance  # only who asks for it pays for it

        now = self.clock()
        done = maintenance.Maintained()
        if maintenance.BY_POLICY in (retention_days, history_days):
            kept = self.read(maintenance.kept_days)
            retention_days, history_days = (
                days if given == maintenance.BY_POLICY else given
                for days, given in zip(kept, (retention_days, history_days), strict=True)
            )
        if retention_days is not None:
            maintenance.purge(self, done, retention_days=retention_days, env=env)
        if history_days is not None:
            maintenance.shorten_history(self, done, before=add_seconds(now, -history_days * _DAY_S))
        maintenance.drop_expired(self, done, now=now)
        with suppress(NotAllowed):  # through a server: that is done where the store is
            maintenance.drop_emptied(self.executor.backend, done)
        return done

    def undo(self, batch: str, *, dry_run: bool = False) -> c.Answer:
        """
        Set back a batch, item by item, where nobody changed anything since, in bounded steps.

        Interrupted, call it again: what is set back already is unchanged. After several steps the outcomes carry no
        items, so that memory does not grow with them. *dry_run*: say what would be, and write nothing.
        """
        outcomes: list[c.Outcome] = []
        for step in self.undo_steps(batch, planner=self.planner() if dry_run else None):
            if step.next or outcomes:
                outcomes += [replace(outcome, item=None) for outcome in step.outcomes]
            else:
                outcomes += step.outcomes
        return replace(step, outcomes=tuple(outcomes))

    def undo_steps(self, batch: str, *, planner: Planner | None = None) -> Iterator[c.Answer]:
        """
        Set back a batch, and yield each step as it is done (with a *planner*: decided). All are one batch themselves.
        """
        own, after = batch_id(self.ids()), ""
        while True:
            body = c.Undo(batch=batch, after=after, limit=_UNDONE_A_STEP)
            step = (planner or self).execute(body, batch=own)
            yield step
            if not step.next:
                return
            after = step.next

    @property
    def work(self) -> Work:
        """
        Return the face for taking work: what is ready, claims and their leases.
        """
        from backlog_store.work import Work  # only who takes work pays for it

        return Work(self)

    def save_view(self, name: str, query: str) -> None:
        """
        Keep a query under a name. Raises `InvalidQuery` for one that cannot be asked.
        """
        self.execute(c.SaveView(name=name, query=query))

    def apply_policy(
        self, text: str, *, over: int, format: PolicyFormat = "yaml", files: Mapping[str, str] | None = None,
        message: str = "",
    ) -> int:  # fmt: skip
        """
        Put a policy in force over revision *over*; return its revision. Only for a person; see `commands.ApplyPolicy`.
        """
        body = c.ApplyPolicy(text=text, over=over, format=format, files=dict(files or {}), message=message)
        return self.execute(body).outcomes[0].revision

    def drop_view(self, name: str) -> None:
        """
        Forget a saved view. Raises `NotFound`.
        """
        self.execute(c.DropView(name=name))

    def _one(self, body: c.Body, request_id: str) -> c.Outcome:
        answer = self.executor.execute(self.command(body, request_id=request_id))
        outcome = answer.outcomes[0]
        if answer.replayed and outcome.item is None and outcome.id:
            return replace(outcome, item=self.find(outcome.id))
        return outcome

    def close(self) -> None:
        """
        Close the store. Idempotent.
        """
        self.executor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
