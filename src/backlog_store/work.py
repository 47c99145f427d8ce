"""
Who works on what: `Backlog.work`, the face for people and workers that take items one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from backlog_store.backends.port import Reader
from backlog_store.commands import ClaimItem, Deactivate, Escalate, Outcome, ReleaseItem, RenewClaim
from backlog_store.commands.claims import LEASE_S
from backlog_store.ids import batch_id
from backlog_store.model import Item, ItemId
from backlog_store.query import ANY, Where
from backlog_store.rules.ready import Choice, next_item, ready

if TYPE_CHECKING:
    from backlog_store.backlog import Backlog
    from backlog_store.rules.deactivating import Quiet
    from backlog_store.rules.escalating import StepState

__all__ = ["Work"]

T = TypeVar("T")


class Work:
    """
    Finding, taking, keeping and giving back what is ready, as the backlog's actor.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog

    def ready(self, where: Where = ANY, *, env: str = "", limit: int = 50) -> Sequence[Item]:
        """
        Return what is ready for this actor, by priority, due date and id.
        """
        now, me = self._backlog.clock(), self._backlog.actor.name
        return self._backlog.read(lambda reader: ready(reader, now=now, me=me, env=env, where=where, limit=limit))

    def next(self, where: Where = ANY, *, env: str = "") -> Choice | None:
        """
        Return which item to take next, and why.
        """
        now, me = self._backlog.clock(), self._backlog.actor.name
        return self._backlog.read(lambda reader: next_item(reader, now=now, me=me, env=env, where=where))

    def claim(
        self, id: ItemId = "", *, env: str = "", lease_s: int = LEASE_S, message: str = "", request_id: str = ""
    ) -> Outcome:
        """
        Take an item, or the next one; the outcome's `token` goes with later writes. Raises `Conflict`, `NotAllowed`.
        """
        full = self._backlog.id_of(id) if id else ""
        body = ClaimItem(id=full, env=env, lease_s=lease_s, message=message)
        return self._backlog.execute(body, request_id=request_id).outcomes[0]

    def renew(self, id: ItemId, token: int, *, lease_s: int = LEASE_S) -> Outcome:
        """
        Keep a claim for longer. Raises `Conflict` where it is over.
        """
        return self._backlog.execute(RenewClaim(id=self._backlog.id_of(id), token=token, lease_s=lease_s)).outcomes[0]

    def release(self, id: ItemId, token: int = 0, *, message: str = "") -> Outcome:
        """
        Give an item back.
        """
        body = ReleaseItem(id=self._backlog.id_of(id), token=token, message=message)
        return self._backlog.execute(body).outcomes[0]

    def due_steps(self, *, env: str = "") -> Iterator[tuple[Item, StepState]]:
        """
        Yield the steps of the policy's escalation that are due and did not fire yet, by item; nothing is written.
        """
        from backlog_store.rules.escalating import due_steps  # few escalate, and none of the others is to pay for it

        return self._pages_of(due_steps, env)

    def escalate(self, *, env: str = "") -> Iterator[tuple[Item, StepState]]:
        """
        Let the steps that are due fire, each as an event on its item; yield those that this call fired.

        A step fires once an episode, whoever asks at the same time, and however often: the item says which ones fired.
        Each is a transaction of its own: interrupted, call it again. One whose item was touched since it was listed
        waits for its next time.
        """
        for item, state in self.due_steps(env=env):
            body = Escalate(id=item.id, step=state.step, episode=item.episode)
            outcome = self._backlog.execute(body).outcomes[0]
            if outcome.verdict == "updated" and outcome.item is not None:
                yield outcome.item, state

    def quiet(self, *, env: str = "") -> Iterator[Quiet]:
        """
        Yield the live items below the lower threshold of the policy's `activation`; nothing is written.
        """
        from backlog_store.rules.deactivating import quiet_items

        return self._pages_of(quiet_items, env)

    def deactivate(self, *, env: str = "") -> Iterator[Outcome]:
        """
        Close the items below the lower threshold of the policy's `activation`; yield those that this call closed.

        In steps of 100 items, all of one batch for `undo`.
        """
        batch = batch_id(self._backlog.ids())
        ids = (one.item.id for one in self.quiet(env=env) if not one.kept_by)
        while some := tuple(islice(ids, 100)):
            for outcome in self._backlog.execute(Deactivate(ids=some), batch=batch).outcomes:
                if outcome.verdict == "closed":
                    yield outcome

    def _pages_of(self, found: Callable[..., tuple[Sequence[T], str]], env: str) -> Iterator[T]:
        """
        Yield what a rule finds under the policy in force, page by page, each in a view of its own.
        """
        from backlog_store.rules.policies import policy_in_force

        def page_behind(after: str, reader: Reader) -> tuple[Sequence[T], str]:
            return found(reader, policy_in_force(reader), now, env=env, after=after)

        now, after = self._backlog.clock(), ""
        while True:
            page, after = self._backlog.read(partial(page_behind, after))
            yield from page
            if not after:
                return
