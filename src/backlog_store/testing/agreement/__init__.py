"""
The agreement machine: one random program drives several stores at once, and all must tell the same.

A *program* draws steps from a seed, looking at the first store (the model) for what exists. A step is a value; it runs
on each store by itself and its answer, or the class and code of its error, is compared with the model's. At checkpoints
all that the stores hold is compared byte for byte. Since steps are values, a failing run can be cut down to the
steps that matter, and it prints its seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from msgspec import Struct

from backlog_store.backends.port import Backend
from backlog_store.codec import encode
from backlog_store.errors import BacklogError
from backlog_store.testing.contents import contents

__all__ = ["Disagreement", "Maintain", "New", "Program", "Reopen", "Step", "Store", "agree", "replay"]

T = TypeVar("T")
#: Makes a new, empty store and returns what opens it.
New = Callable[[], Callable[[], Backend]]
SHRINKING_RUNS_MAX = 300
SHOWN_STEPS = 12
_NOTHING = "(nothing more)"
SHOWN_CHARACTERS = 2_000  # of a step, and of each of two answers


class Store:
    """
    One store in the machine: an open backend that a step may use, and may open again.
    """

    def __init__(self, name: str, new: New) -> None:
        self.name = name
        self._new = new
        self._open = new()
        self.backend = self._open()

    def reopen(self) -> None:
        """
        Close and open again. A store that is not durable would be empty then, so it stays open.
        """
        if self.backend.capabilities.durable:
            self.backend.close()
            self.backend = self._open()

    def move(self, carry: Callable[[Backend, Backend], T]) -> T:
        """
        Go on with a new store that *carry* fills from the present one; return its answer.
        """
        opens = self._new()
        target = opens()
        try:
            answer = carry(self.backend, target)
        except BaseException:
            target.close()
            raise
        self.backend.close()
        self._open, self.backend = opens, target
        return answer

    def close(self) -> None:
        """
        Close.
        """
        self.backend.close()


class Step(Protocol):
    """
    One thing to do: a value that prints itself.
    """

    def run(self, store: Store, /) -> Any:
        """
        Do it on one store; return what all stores must agree on.
        """
        ...


class Program(Protocol):
    """
    Draws steps.
    """

    def next(self, model: Backend, /) -> Step:
        """
        Return the next step, perhaps about what *model* holds now.
        """
        ...


class Reopen(Struct, frozen=True):
    """
    Close and open each durable store again.
    """

    def run(self, store: Store, /) -> Any:
        """
        Open again.
        """
        store.reopen()


class Maintain(Struct, frozen=True):
    """
    Call a backend's own maintenance (`compact`, say), where it has one of this name; it must change nothing.
    """

    name: str

    def run(self, store: Store, /) -> Any:
        """
        Maintain.
        """
        maintain = getattr(store.backend, self.name, None)
        if maintain is not None:
            maintain()


class Disagreement(AssertionError):
    """
    Two stores told different things. *steps* leads there; *store* is the one that differs from the model.
    """

    def __init__(self, what: str, *, store: str, seed: int | None, steps: Sequence[Step]) -> None:
        self.what = what
        self.store = store
        self.seed = seed
        self.steps = tuple(steps)
        shown = "\n".join(f"  {_brief(step)}" for step in self.steps[-SHOWN_STEPS:])
        super().__init__(f"seed {seed}, after {len(self.steps)} steps: {what}\nlast steps:\n{shown}")


def agree(
    stores: Mapping[str, New], program: Program, *, seed: int, steps: int, checkpoint: int = 100, shrink: bool = True
) -> int:
    """
    Run *steps* steps of *program* on all *stores*, the first being the model; return how many were no errors.

    Raises `Disagreement` with the seed and, if *shrink*, the shortest program found that still shows it.
    """
    taken: list[Step] = []
    with _Machine(stores) as machine:
        fruitful = 0
        try:
            for number in range(1, steps + 1):
                step = program.next(machine.model.backend)
                taken.append(step)
                fruitful += machine.take(step)
                if number % checkpoint == 0 or number == steps:
                    machine.compare()
        except _DifferError as error:
            difference = error
        else:
            return fruitful
    found = Disagreement(str(difference), store=difference.store, seed=seed, steps=taken)
    if shrink:
        found = _shrink(stores, found)
    raise found from difference


def replay(stores: Mapping[str, New], steps: Sequence[Step]) -> Disagreement | None:
    """
    Run exactly these steps on new stores; return the disagreement they lead to, if any.
    """
    taken: list[Step] = []
    with _Machine(stores) as machine:
        try:
            for step in steps:
                taken.append(step)
                machine.take(step)
            machine.compare()
        except _DifferError as difference:
            return Disagreement(str(difference), store=difference.store, seed=None, steps=taken)
    return None


class _DifferError(Exception):
    def __init__(self, store: str, what: str) -> None:
        super().__init__(what)
        self.store = store


def _brief(value: Any) -> str:
    """
    Return a value as it is printed: without fields that have their default, cut where it is long.
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, Struct):
        value = f"{type(value).__name__} {encode(value).decode()}" if _has_json_form(value) else repr(value)
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _has_json_form(value: Struct) -> bool:
    try:
        encode(value)
    except (UnicodeEncodeError, TypeError):
        return False
    return True


class _Machine:
    def __init__(self, stores: Mapping[str, New]) -> None:
        self.stores = [Store(name, new) for name, new in stores.items()]
        self.model = self.stores[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for store in self.stores:
            store.close()

    def take(self, step: Step) -> bool:
        answers = [_answer(step, store) for store in self.stores]
        for store, answer in zip(self.stores[1:], answers[1:], strict=True):
            if answer != answers[0]:
                raise _DifferError(store.name, _difference(self.model.name, answers[0], store.name, answer))
        return answers[0][0] == "answer"

    def compare(self) -> None:
        expected = contents(self.model.backend)
        for store in self.stores[1:]:
            found = contents(store.backend)
            if found != expected:
                raise _DifferError(store.name, _difference(self.model.name, expected, store.name, found))


def _answer(step: Step, store: Store) -> tuple[str, Any]:
    try:
        return "answer", step.run(store)
    except BacklogError as error:
        return "error", (type(error).__name__, error.code)
    except Exception as error:
        # No error of the store's own: a fault whoever agrees, and worth the same shrinking.
        raise _DifferError(store.name, f"{store.name} raised {error!r}") from error


def _difference(model: str, expected: Any, name: str, found: Any) -> str:
    """
    Return the first place where two answers or contents differ, and what stands there.
    """
    place = ""
    while isinstance(expected, list | tuple) and isinstance(found, list | tuple):
        pairs = list(zip([*expected, _NOTHING], [*found, _NOTHING], strict=False))
        number = next(number for number, (one, other) in enumerate(pairs) if one != other)
        if expected and isinstance(expected[0], str) and expected[0] != found[0]:
            break  # an answer here, an error there: show what they say
        place += f"/{number}"
        expected, found = pairs[number]
    return f"they differ at {place or '/'}\n  {model}: {_brief(expected)}\n  {name}: {_brief(found)}"


def _shrink(stores: Mapping[str, New], found: Disagreement) -> Disagreement:
    """
    Leave out ever smaller stretches of steps as long as the one store and the model still disagree.
    """
    model = next(iter(stores))
    two = {name: stores[name] for name in dict.fromkeys((model, found.store))}
    best, runs = found, 0
    size = max(1, len(best.steps) // 2)
    while size and runs < SHRINKING_RUNS_MAX:
        start, cut = 0, False
        while start < len(best.steps) and runs < SHRINKING_RUNS_MAX:
            runs += 1
            shorter = replay(two, best.steps[:start] + best.steps[start + size :])
            if shorter is None:
                start += size
            else:
                best = Disagreement(shorter.what, store=found.store, seed=found.seed, steps=shorter.steps)
                cut = True
        size = size if cut and size == 1 else size // 2
    return best
