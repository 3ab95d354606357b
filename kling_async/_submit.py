"""Submit exactly once, even when the answer got lost.

The decisions are a generator: it yields a move and is sent what came of it, so that the
whole protocol runs in a test without a server or a clock. `perform` carries it out.

    ──▶  Ask first, where the id is the caller's own: found ──▶ adopt it
            │ not found, or cannot be asked
            ▼
            ┌────── certainly not created, transient: pause ──────┐
            ▼                                                     │
         Send ──── a task ──────────────────────────────▶ done    │
            │ ───── certainly not created ────────────────────────┴─▶ raise
            │ ───── "id exists already" ──▶ Ask ── found ──▶ adopt it
            ▼ unknown
           Ask ── found ─────────────────────────────────▶ adopt it
            │ not found: pause until the create's own time-out has passed
           Ask ── found ─────────────────────────────────▶ adopt it
            │ not found
            ├── the server refuses duplicate ids ──▶ Send again, with the same id
            └── it does not, or cannot be asked ───▶ raise SubmissionUnknown

A create that an earlier process may have sent begins at "unknown".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import anyio

from ._background import sparing
from ._config import Retries
from ._errors import (
    AnswerLost,
    ConnectFailed,
    DuplicateTaskId,
    IntentExpired,
    KlingError,
    RateLimited,
    ServerError,
    SubmissionUnknown,
    TaskNotFound,
)
from ._retry import created_nothing, is_transient, next_delay
from ._state import TaskState


@dataclass(frozen=True, slots=True)
class Send:
    """Send the create, always with the same external_task_id."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Look the task up by its external_task_id."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


Move = Send | Ask | Pause
Outcome = TaskState | KlingError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the protocol may count on."""

    external_task_id: str
    answers_look_ups: bool
    """The server resolves external ids, or might: asking is free either way."""
    trusts_not_found: bool
    """The server resolves them and refuses duplicates: "not found" allows a second send."""
    on_the_wire: float
    """Seconds in which a create that was sent may still arrive."""
    retries: Retries = field(default_factory=Retries)
    resend: bool = False
    """The caller takes the risk of paying twice."""
    asks_first: bool = False
    """The id is the caller's own: an earlier submission may have used it."""
    left_before: float | None = None
    """Seconds since a create with this id may have left, in an earlier process; None: none has."""

    @property
    def asks(self) -> bool:
        """Whether look-ups are made at all."""
        return self.answers_look_ups and self.retries.look_ups > 0


_TAKEN = 3  # look-ups for a task that has an id of ours, and was none of ours

Protocol = Generator[Move, Outcome, TaskState]


def submission(rules: Rules, random: Random) -> Protocol:
    """The moves that bring one task into being; ends with it or raises."""
    refusals, offline, waited, sent_again = 0, 0, 0.0, 0
    lost: KlingError | None = None
    trusts = rules.trusts_not_found and rules.asks
    # A clock that was set back since makes the time negative.
    wire = rules.on_the_wire - max(0.0, rules.left_before or 0.0)
    outcome: Outcome
    if rules.left_before is not None:
        outcome = AnswerLost("whoever sent it was stopped before the answer")
    else:
        if rules.asks_first and rules.asks:
            found = yield from _look_up(rules, random, None)
            if found is not None:
                return found
        outcome = yield Send()
    while True:
        if isinstance(outcome, TaskState):
            return outcome
        assert outcome is not None
        if isinstance(outcome, IntentExpired):
            raise outcome  # not sent; an earlier one that was lost is certainly not there
        if isinstance(outcome, DuplicateTaskId):
            return (yield from _adopt(rules, random, outcome, lost))
        if not created_nothing(outcome):
            lost = outcome
            found = yield from _settle(rules, random, lost, wire)
            if found is not None:
                return found
            limit = rules.retries.resends if trusts else int(rules.resend)
            if sent_again >= limit:
                raise _unknown(rules, lost)
            sent_again, wire = sent_again + 1, rules.on_the_wire
        else:
            offline = offline + 1 if isinstance(outcome, ConnectFailed) else 0
            if not _goes_on(outcome, rules.retries, offline, waited):
                if lost is not None:
                    # This create made no task, but the one before it may have, if look-ups lag.
                    raise _unknown(rules, lost, f"sent again, it was refused: {outcome.message}")
                raise outcome
            delay = next_delay(refusals, random=random, hint=_hint(outcome))
            refusals, waited = refusals + 1, waited + delay
            yield Pause(delay)
        outcome = yield Send()


def _goes_on(error: KlingError, retries: Retries, offline: int, waited: float) -> bool:
    if not is_transient(error):
        return False
    if isinstance(error, ConnectFailed):
        return offline < retries.connect
    return isinstance(error, RateLimited | ServerError) and waited < retries.busy


def _hint(error: KlingError) -> float | None:
    return error.retry_after if isinstance(error, RateLimited | ServerError) else None


def _adopt(
    rules: Rules, random: Random, error: DuplicateTaskId, lost: KlingError | None
) -> Protocol:
    """The id is taken: by this very submission, or by an earlier one of the caller's."""
    # It exists, so a "not found" is a replica that lags behind; or, if none of ours was lost,
    # a task of another endpoint.
    most = rules.retries.look_ups if lost is not None else min(_TAKEN, rules.retries.look_ups)
    for failures in range(most if rules.asks else 0):
        if failures:
            yield Pause(next_delay(failures, random=random))
        found = yield from _look_up(rules, random, lost or error)
        if found is not None:
            return found
    raise error if lost is None else _unknown(rules, lost) from error


def _settle(
    rules: Rules, random: Random, lost: KlingError, wire: float
) -> Generator[Move, Outcome, TaskState | None]:
    """Find out about a create whose answer was lost: its task, or None when there is none."""
    if not rules.asks:
        return None
    found = yield from _look_up(rules, random, lost)
    if found is None and wire > 0:
        # It may still be on the wire, so the first "not found" proves nothing.
        yield Pause(wire)
        found = yield from _look_up(rules, random, lost)
    return found


def _look_up(
    rules: Rules, random: Random, lost: KlingError | None
) -> Generator[Move, Outcome, TaskState | None]:
    """Ask until there is an answer; None means that the server knows no such task.

    Without a *lost* create nothing was sent yet, and a failure to ask is raised as it came.
    """
    failures = 0
    while True:
        outcome = yield Ask()
        if isinstance(outcome, TaskState):
            return outcome
        if isinstance(outcome, TaskNotFound):
            return None
        assert outcome is not None
        failures += 1
        if failures >= rules.retries.look_ups or not is_transient(outcome):
            if lost is None:
                raise outcome
            error = _unknown(rules, lost)
            error.add_note(f"Looked up, it was answered: {outcome}")
            error.__context__ = outcome
            raise error
        yield Pause(next_delay(failures - 1, random=random, hint=_hint(outcome)))


def _unknown(rules: Rules, lost: KlingError, then: str = "") -> SubmissionUnknown:
    error = SubmissionUnknown(
        f"the create left and its answer was lost ({lost.message});"
        f" a task may exist and be billed under external_task_id {rules.external_task_id}"
        f"{then and f'; {then}'}",
        external_task_id=rules.external_task_id,
        code=lost.code,
        status=lost.status,
        request_id=lost.request_id,
        provider=lost.provider,
    )
    error.__cause__ = lost
    return error


Leaving = Callable[[], None]
Performs = Callable[[], Awaitable[TaskState]]
Again = Callable[[str, KlingError | None, float], object]


async def perform(protocol: Protocol, send: Performs, ask: Performs, again: Again) -> TaskState:
    """Carry the moves out; *again* is told what follows, on which failure and after how long."""
    outcome: Outcome = None
    failure: KlingError | None = None
    asks = paused = False
    while True:
        try:
            move = protocol.send(outcome)
        except StopIteration as done:
            state: TaskState = done.value
            return state
        if not isinstance(move, Pause):
            asks = isinstance(move, Ask)
        what = "look-up" if asks else "create"
        if isinstance(move, Pause):
            again(what, failure, move.seconds)
        elif failure is not None and not paused:
            again(what, failure, 0.0)
        outcome, paused = None, isinstance(move, Pause)
        if isinstance(move, Pause):
            await anyio.sleep(move.seconds)
            continue
        try:
            outcome = await (send() if isinstance(move, Send) else ask())
        except KlingError as error:
            outcome = error
            if not isinstance(error, TaskNotFound):  # that is an answer
                failure = error


T = TypeVar("T")


async def to_the_end(
    work: Callable[[Leaving], Awaitable[T]], farewell: float, shield: anyio.CancelScope
) -> T:
    """Run *work* in *shield*; when the caller is cancelled, leave it *farewell* seconds to finish.

    *work* is given a function to call when the create is about to leave: before that,
    cancelling stops it.
    """
    ended = anyio.Event()
    results: list[T] = []
    errors: list[Exception] = []

    def leaving() -> None:
        shield.shield = True

    async def run() -> None:
        try:
            with shield:
                results.append(await work(leaving))
        except Exception as error:  # raised again below, in the caller's own task
            errors.append(error)
        finally:
            ended.set()

    async with anyio.create_task_group() as group:
        group.start_soon(sparing, run)
        try:
            await ended.wait()
        finally:
            shield.deadline = min(shield.deadline, anyio.current_time() + farewell)
    if errors:
        raise errors[0]
    return results[0]
