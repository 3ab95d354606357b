"""Intents, processes that die and a server that does its worst, in any order: never two tasks.

What the model takes for granted, and the protocol may count on:

- A create that was sent is carried out within the wire time or never, whatever becomes of its
  answer. It may be doubled on its way; where duplicates are not refused, both are carried out,
  and no client can prevent that: they count as one.
- Kling's look-ups may lag behind, but not for creates that were sent longer ago than the wire
  time. For how long an unknown server's do is not known.
- A journal knows when a create left, and that it was certainly not carried out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kling_async import (
    AnswerLost,
    BadEnvelope,
    BalanceExhausted,
    CometAPI,
    ConnectFailed,
    DuplicateTaskId,
    Gateway,
    KlingAI,
    KlingError,
    Provider,
    RateLimited,
    Retries,
    ServerError,
    SubmissionUnknown,
    TaskNotFound,
    TaskState,
    TaskStatus,
)
from kling_async._abilities import Abilities
from kling_async._submit import Ask, Move, Outcome, Pause, Protocol, Rules, Send, submission

KEY = "a-secret-key-0123456789"
PROVIDERS: dict[str, Provider] = {
    "official": KlingAI(KEY),
    "unknown": CometAPI(KEY),
    "gateway": Gateway("https://gateway.example", KEY),
}
WIRE = 120.0
LATEST = WIRE - 1  # what comes at the very last moment is left to sums of floats
RETRIES = Retries(connect=2, busy=20.0, resends=2, look_ups=3)
UNCLEAR: list[KlingError] = [
    AnswerLost("reset"),
    ServerError("internal", code=5000, status=500),
    BadEnvelope("a proxy's page", status=502),
    BadEnvelope("half an answer", status=200),
]
NOT_DONE: list[KlingError] = [
    RateLimited("too fast", code=1302, status=429),
    ServerError("maintenance", code=5001, status=503),
    ConnectFailed("refused"),
    BalanceExhausted("empty", code=1102, status=429),
]


@dataclass(frozen=True)
class Fate:
    """What becomes of one create."""

    arrivals: tuple[float, ...] = (0.0,)
    """Seconds after which it reaches the server; two if it is doubled on its way."""
    error: KlingError | None = None
    """What the client sees in place of the server's answer."""
    told_after: float = 0.0
    first: bool = True
    """Of two answers, the client sees the first."""


ARRIVAL = st.sampled_from([0.0, 1.0, WIRE / 2, LATEST])
LOST = st.builds(
    Fate, st.lists(ARRIVAL, max_size=1).map(tuple), st.sampled_from(UNCLEAR), st.just(0.0)
)
FATES: st.SearchStrategy[Fate] = st.one_of(
    st.just(Fate()),
    st.builds(
        Fate,
        st.lists(ARRIVAL, max_size=2).map(tuple),
        st.sampled_from(UNCLEAR),
        st.sampled_from([0.0, 2.0, WIRE]),
    ),
    st.builds(Fate, st.just((0.0, 1.0)), told_after=st.just(2.0), first=st.booleans()),
    st.builds(Fate, st.just((WIRE / 2,)), told_after=st.just(LATEST)),
    st.builds(Fate, st.just(()), st.sampled_from(NOT_DONE)),
)
TROUBLE: st.SearchStrategy[KlingError | None] = st.one_of(
    st.none(), st.sampled_from(UNCLEAR + NOT_DONE)
)


PASSING = st.sampled_from([0.0, 1.0, WIRE / 2, LATEST, 10 * WIRE])


@dataclass
class Made:
    """A task, and the create it came of; that of a stranger is 0."""

    state: TaskState
    create: int
    sent_at: float


@dataclass
class Server:
    """It carries creates out when they arrive, and remembers of which create each task came."""

    finds: bool
    refuses: bool
    longest_lag: float
    now: float = 0.0
    creates: int = 0
    coming: list[tuple[float, int, str, float]] = field(
        default_factory=list[tuple[float, int, str, float]]
    )
    """When each copy of a create arrives, its number, its external id, when it was sent."""
    made: list[Made] = field(default_factory=list[Made])

    def wait(self, until: float) -> None:
        self.now = max(self.now, until)
        self.coming.sort()
        while self.coming and self.coming[0][0] <= self.now:
            _, create, external_id, sent_at = self.coming.pop(0)
            if not (self.refuses and self.of(external_id)):
                self.make(external_id, create, sent_at)

    def make(self, external_id: str, create: int, sent_at: float) -> None:
        task_id = str(len(self.made))
        state = TaskState(task_id, TaskStatus.SUBMITTED, external_task_id=external_id)
        self.made.append(Made(state, create, sent_at))

    def of(self, external_id: str) -> list[Made]:
        return [made for made in self.made if made.state.external_task_id == external_id]

    def take(self, external_id: str, fate: Fate) -> Callable[[], Outcome]:
        """A create; ask for its answer when it is time."""
        self.creates += 1
        create = self.creates
        for after in fate.arrivals:
            self.coming.append((self.now + after, create, external_id, self.now))

        def answer() -> Outcome:
            mine = [made.state for made in self.made if made.create == create]
            if fate.error is not None:
                return fate.error
            # Where duplicates are refused, a second copy is one as well.
            if mine and (fate.first or len(mine) == len(fate.arrivals)):
                return mine[0 if fate.first else -1]
            return DuplicateTaskId(f"External_task_id {external_id} already exists", code=1201)

        return answer

    def look_up(self, external_id: str, *, lags: bool) -> Outcome:
        for made in self.of(external_id) if self.finds else []:
            if not lags or made.sent_at + self.longest_lag <= self.now:
                return made.state
        return TaskNotFound(f"Task not found by id/external id: {external_id}", code=1201)


@dataclass
class Wanted:
    """A task that is wanted; all but the first five fields are the journal's."""

    protocol: Protocol | None = field(default=None, init=False)
    """None where no process is at work on it."""
    move: Move | None = field(default=None, init=False)
    answer: Callable[[], Outcome] | None = field(default=None, init=False)
    due: float = field(default=0.0, init=False)
    """When the move is over."""
    runs: int = field(default=0, init=False)
    external_id: str
    own: bool
    resend: bool
    foreign: bool
    """Somebody else made a task with this id, long ago."""
    left_at: float | None = field(default=None, init=False)
    lost: bool = field(default=False, init=False)
    end: TaskState | KlingError | None = field(default=None, init=False)


class SubmissionsWith(RuleBasedStateMachine):
    """A server, and one client after the other."""

    def __init__(self, name: str, finds: bool, refuses: bool) -> None:
        super().__init__()
        self.provider = PROVIDERS[name]
        self.official = name == "official"
        self.server = Server(finds, refuses, LATEST if self.official else inf)
        self.abilities = Abilities(self.provider)
        self.random = Random(0)
        self.wanted: list[Wanted] = []

    # What may happen, in any order

    @precondition(lambda self: len(self.wanted) < 3)
    @rule(own=st.booleans(), resend=st.sampled_from([False, False, True]), foreign=st.booleans())
    def want(self, own: bool, resend: bool, foreign: bool) -> None:
        wanted = Wanted(f"id-{len(self.wanted)}", own, resend, own and foreign)
        self.wanted.append(wanted)
        if wanted.foreign:
            self.server.make(wanted.external_id, 0, self.server.now - WIRE)

    @precondition(lambda self: self.wanted)
    @rule(
        which=st.integers(0, 2),
        steps=st.integers(1, 5),
        fate=FATES,
        trouble=TROUBLE,
        lags=st.booleans(),
    )
    def go_on(
        self, which: int, steps: int, fate: Fate, trouble: KlingError | None, lags: bool
    ) -> None:
        for _ in range(steps):
            self.step(self.wanted[which % len(self.wanted)], fate, trouble, lags=lags)

    @precondition(lambda self: self.wanted)
    @rule(which=st.integers(0, 2), fate=LOST, then=FATES)
    def lose_the_answer(self, which: int, fate: Fate, then: Fate) -> None:
        wanted = self.wanted[which % len(self.wanted)]
        for _ in range(6):
            self.step(wanted, fate)
            if isinstance(wanted.move, Send):
                fate = then

    @precondition(lambda self: self.wanted)
    @rule(which=st.integers(0, 2), fate=FATES, seconds=PASSING)
    def be_killed_while_sending(self, which: int, fate: Fate, seconds: float) -> None:
        wanted = self.wanted[which % len(self.wanted)]
        for _ in range(6):
            if not isinstance(wanted.move, Send) or wanted.protocol is None:
                self.step(wanted, fate)
        self.be_killed(seconds)

    @rule(seconds=PASSING)
    def be_killed(self, seconds: float) -> None:
        """And so many seconds later there is another process."""
        for wanted in self.wanted:
            wanted.protocol = None
        self.server.wait(self.server.now + seconds)
        self.abilities = Abilities(self.provider)

    @precondition(lambda self: any(isinstance(one.end, KlingError) for one in self.wanted))
    @rule(which=st.integers(0, 2))
    def try_again(self, which: int) -> None:
        failed = [wanted for wanted in self.wanted if isinstance(wanted.end, KlingError)]
        failed[which % len(failed)].end = None

    @precondition(lambda self: self.abilities.finds_external_id is None)
    @rule()
    def be_curious(self) -> None:
        """Long enough after a create for replicas to follow."""
        for wanted in self.wanted:
            if isinstance(wanted.end, TaskState):
                found = self.server.look_up(wanted.external_id, lags=False)
                known = isinstance(found, TaskState)
                (self.abilities.found if known else self.abilities.missed)()

    # What must hold at any time

    @invariant()
    def nothing_is_paid_for_twice(self) -> None:
        for wanted in self.wanted:
            made = self.server.of(wanted.external_id)
            creates = {one.create for one in made}
            if wanted.foreign and not (self.official or self.server.refuses):
                creates.remove(0)  # nobody could have known of it
            assert len(creates) <= 1 + (wanted.runs if wanted.resend else 0)

    @invariant()
    def nothing_is_hidden(self) -> None:
        for wanted in self.wanted:
            end, made = wanted.end, self.server.of(wanted.external_id)
            if isinstance(end, TaskState):
                assert end in [one.state for one in made]
            elif isinstance(end, SubmissionUnknown):
                assert end.external_task_id == wanted.external_id
            elif isinstance(end, DuplicateTaskId):
                assert made
            elif end is not None:
                coming = [external_id for _, _, external_id, _ in self.server.coming]
                assert not any(one.create for one in made)
                assert wanted.external_id not in coming

    def teardown(self) -> None:
        """When all trouble is over, everything comes to an end: with Kling itself to a task."""
        for wanted in self.wanted:
            self.finish(wanted)
            if self.official and isinstance(wanted.end, KlingError):
                wanted.end = None  # of the time of trouble
                self.finish(wanted)
            if self.official:
                assert isinstance(wanted.end, TaskState)
        self.server.wait(self.server.now + WIRE)
        self.nothing_is_paid_for_twice()
        self.nothing_is_hidden()

    # How it happens

    def finish(self, wanted: Wanted) -> None:
        while wanted.end is None:
            self.step(wanted)

    def step(
        self,
        wanted: Wanted,
        fate: Fate = Fate(),
        trouble: KlingError | None = None,
        *,
        lags: bool = False,
    ) -> None:
        """Bring the last move to its end and begin the next; others that are due are late."""
        if wanted.end is not None:
            return
        outcome: Outcome = None
        if wanted.protocol is None:
            wanted.protocol, wanted.runs = (
                submission(self.known(wanted), self.random),
                wanted.runs + 1,
            )
        else:
            self.server.wait(wanted.due)
            assert wanted.answer is not None
            outcome = wanted.answer()
            self.learn(wanted, outcome)
        try:
            wanted.move = wanted.protocol.send(outcome)
        except StopIteration as done:
            wanted.end, wanted.protocol = done.value, None
            return
        except KlingError as error:
            wanted.end, wanted.protocol = error, None
            return
        self.begin(wanted, wanted.move, fate, trouble, lags=lags)

    def begin(
        self, wanted: Wanted, move: Move, fate: Fate, trouble: KlingError | None, *, lags: bool
    ) -> None:
        now = wanted.due = self.server.now
        if isinstance(move, Pause):
            wanted.due, wanted.answer = now + move.seconds, lambda: None
        elif isinstance(move, Ask):
            found = trouble or self.server.look_up(wanted.external_id, lags=lags)
            wanted.answer = lambda: found
        else:
            wanted.left_at, wanted.due = now, now + fate.told_after
            wanted.answer = self.server.take(wanted.external_id, fate)

    def learn(self, wanted: Wanted, outcome: Outcome) -> None:
        """What the journal and the client make of the answer."""
        if isinstance(outcome, DuplicateTaskId):
            self.abilities.refused_duplicate()
        if isinstance(wanted.move, Ask) and isinstance(outcome, TaskState):
            self.abilities.found()
        if isinstance(wanted.move, Send) and isinstance(outcome, KlingError):
            wanted.lost = wanted.lost or outcome not in NOT_DONE
            if not wanted.lost:
                wanted.left_at = None

    def known(self, wanted: Wanted) -> Rules:
        left_at = wanted.left_at
        return Rules(
            external_task_id=wanted.external_id,
            answers_look_ups=self.abilities.answers_look_ups,
            trusts_not_found=self.abilities.trusts_not_found,
            on_the_wire=WIRE,
            retries=RETRIES,
            resend=wanted.resend,
            asks_first=wanted.own,
            left_before=None if left_at is None else self.server.now - left_at,
        )


@pytest.mark.parametrize(
    ("name", "finds", "refuses"),
    [
        pytest.param("official", True, True, marks=pytest.mark.long),
        ("official", True, False),  # for /v1 it is only inferred
        pytest.param("unknown", True, True, marks=pytest.mark.long),
        pytest.param("unknown", True, False, marks=pytest.mark.long),
        pytest.param("unknown", False, True, marks=pytest.mark.long),
        ("unknown", False, False),
        ("gateway", False, False),
    ],
)
def test_no_intent_is_paid_for_twice_and_none_is_hidden(
    name: str, finds: bool, refuses: bool
) -> None:
    class Submissions(SubmissionsWith):
        def __init__(self) -> None:
            super().__init__(name, finds, refuses)

    known = settings(max_examples=150, stateful_step_count=30, deadline=None)

    run_state_machine_as_test(Submissions, settings=known)
