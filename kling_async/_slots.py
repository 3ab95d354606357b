"""Slots: how many tasks may be in progress, per account and model.

Kling counts a task from its create to its terminal state and refuses one too many with
code 1303. So a slot is taken before the create and given back when the task has ended.
`Gate` decides; `Slots` performs: it waits.

    queued ──(its turn, and there is room)──▶ on the wire ──accepted──▶ running ──ended──▶ free
       ▲                                          │ │
       └───────────── refused with 1303 ──────────┘ └── failed, cancelled ──▶ free
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import takewhile
from math import inf
from random import Random
from typing import Literal

import anyio

from ._config import Slotting
from ._errors import ConfigurationError, RequestRefused
from ._events import Hooks, SlotsChanged

Stage = Literal["queued", "wire", "running", "gone"]

_SHARE_ON_THE_WIRE = 8
_SHORTEST_GAP, _LONGEST_GAP = 0.05, 10.0
_FARTHER, _CLOSER = 1.5, 0.9  # after a refusal, after each create that is accepted
_FORGOTTEN = 10_000  # tasks that may run without anybody who asks about them


class Ticket:
    """One task's claim to its slots; an image task weighs as many as it makes images."""

    __slots__ = ("below", "event", "gate", "minded", "number", "owner", "round", "stage", "weight")

    def __init__(self, gate: Gate, weight: int) -> None:
        self.gate = gate
        self.weight = weight
        self.stage: Stage = "gone"
        self.number = 0
        """Its place among all that ever queued at the gate."""
        self.below = 0
        """Slots that were taken when it was let go."""
        self.round = 0
        """How often the gate had closed when it was let go."""
        self.event: anyio.Event | None = None
        self.owner: object = None
        self.minded = False

    def wake(self) -> None:
        """Let whoever waits with this ticket look again."""
        if self.event is not None:
            self.event.set()
            self.event = None


class Gate:
    """The slots of one model: pure, told what happens and when.

    Without a limit it learns one:

    - Few creates are on the wire at first, more as more tasks are in progress.
    - A refusal closes the gate at the number in progress when that create was sent, or at
      those that were accepted since. From then on each task that ends opens its own slots
      and no more.
    - After a quiet while one create more is tried. If it is refused, or the next one is,
      the following while is twice as long; if not, a quarter, and twice as many fit.
    - A refusal without a try means that others have taken slots, or given fewer: the
      whiles begin anew.
    """

    def __init__(self, model: str, limit: int | None, settings: Slotting, random: Random) -> None:
        self.model = model
        self.limit = limit
        self.ceiling: int | None = None
        """The limit learned from refusals."""
        self.running = 0
        """Slots taken, those on the wire among them."""
        self.on_the_wire = 0
        self.queue: deque[Ticket] = deque()
        self.members: set[Ticket] = set()
        """Those that run, to be asked about while others wait."""
        self.crowded = False
        self._settings = settings
        self._random = random
        self._entered = 0
        self._round = 0
        self._trying: Ticket | None = None
        self._accepted = 0
        """Slots of the tasks that are known to be there."""
        self._wins = 0
        """Tries that went well since the last refusal."""
        self._quiet = self._pause = settings.quiet
        self._since = 0.0
        """When the pause before the next try began."""

    def enter(self, ticket: Ticket) -> None:
        """Queue up, behind all that came before."""
        if self.limit is not None and ticket.weight > self.limit:
            raise RequestRefused(
                f"the task takes {ticket.weight} slots, max_at_once is {self.limit}",
                field="n",
                advice="Ask for fewer images, or set max_at_once higher.",
            )
        self._entered += 1
        ticket.number = self._entered
        ticket.stage = "queued"
        self.queue.append(ticket)

    def admit(self, now: float) -> Ticket | None:
        """Let the first of the queue go, if it may; it is then on the wire."""
        if self.wait(now) != 0:
            return None
        ticket = self.queue.popleft()
        ticket.below, ticket.round = self.running, self._round
        self.running += ticket.weight
        self.on_the_wire += 1
        ticket.stage = "wire"
        if self.ceiling is not None and self.running > self.ceiling:
            self._trying, self._since = ticket, now
        return ticket

    def wait(self, now: float) -> float | None:
        """Seconds until the first of the queue may go; None if only an end or answer helps."""
        if not self.queue:
            return None
        taken = self.running + self.queue[0].weight
        if self.limit is not None and taken > self.limit:
            return None
        if self.on_the_wire >= self._most_on_the_wire():
            return None
        if self.ceiling is None or taken <= self.ceiling:
            return 0.0
        if self._trying is not None:
            return None
        # With nothing of ours in progress, only time can tell that others have ended theirs.
        pause = self._pause if self.running else min(self._pause, self._settings.quiet)
        return max(0.0, self._since + pause - now)

    def _most_on_the_wire(self) -> float:
        most = self._settings.most_creates
        if self.limit is not None:
            return most
        # So many can be refused at once, when the limit is met for the first time.
        return min(most, max(self._settings.first_creates, self.running // _SHARE_ON_THE_WIRE))

    def accept(self, ticket: Ticket) -> None:
        """The create came back with a task."""
        self.on_the_wire -= 1
        self._run(ticket)
        if self.ceiling is None:
            return
        if ticket.round < self._round:  # it was sent with one that was refused, and fitted
            self.ceiling = max(self.ceiling, self._accepted)
        if ticket is self._trying:
            self._trying = None
            # An end that was not noticed yet lets a try through: only the second in a row
            # proves that there is more room, and then so much more is tried.
            found = min(self.ceiling, ticket.below) + ticket.weight * 2**self._wins
            self.ceiling = found if self.limit is None else min(found, self.limit)
            self._wins += 1
            self._pause = max(self._pause / 4, self._settings.quiet / 4)

    def _run(self, ticket: Ticket) -> None:
        ticket.stage = "running"
        self.members.add(ticket)
        self._accepted += ticket.weight

    def adopt(self, ticket: Ticket) -> None:
        """A task that runs already, from a token: it takes its slots, room or not."""
        self._run(ticket)
        self.running += ticket.weight

    def refuse(self, ticket: Ticket, now: float) -> None:
        """1303: give the slots back, close the gate, be first in line again."""
        self.on_the_wire -= 1
        self.running -= ticket.weight
        # Creates that were under way together are refused together, and tell the same.
        if ticket.round == self._round:
            self._round += 1
            self._lengthen(tried=ticket is self._trying or self._wins == 1)
        if ticket is self._trying:
            self._trying = None
        # Of those that were sent together the first may be refused, and the others fit.
        fits = max(ticket.below, self._accepted)
        self.ceiling = fits if self.ceiling is None else min(self.ceiling, fits)
        self._wins = 0
        self._pause = self._quiet * self._random.uniform(0.9, 1.1)
        self._since = now
        ticket.stage = "queued"
        place = sum(1 for _ in takewhile(lambda other: other.number < ticket.number, self.queue))
        self.queue.insert(place, ticket)

    def _lengthen(self, *, tried: bool) -> None:
        if tried and self._wins < 2 and self.running:
            self._quiet = min(self._quiet * 2, self._settings.longest_quiet)
        else:
            self._quiet = self._settings.quiet

    def leave(self, ticket: Ticket) -> None:
        """The task has ended, or never came to be; twice is as good as once."""
        if ticket.stage == "queued":
            self.queue.remove(ticket)
        if ticket.stage == "wire":
            self.on_the_wire -= 1
            if ticket is self._trying:
                self._trying = None
        if ticket.stage in ("wire", "running"):
            self.running -= ticket.weight
        if ticket.stage == "running":
            self._accepted -= ticket.weight
        self.members.discard(ticket)
        ticket.stage = "gone"


class Slots:
    """Hands slots out in the order they were asked for, a gate for each model."""

    def __init__(
        self,
        limit: int | None,
        settings: Slotting,
        random: Random,
        hooks: Hooks,
        mind: Callable[[Ticket], None],
    ) -> None:
        if limit is not None and limit < 1:
            raise ConfigurationError(f"max_at_once is {limit}; give 1 or more")
        self._limit = limit
        self._settings = settings
        self._random = random
        self._hooks = hooks
        self._mind = mind
        self._gates: dict[str, Gate] = {}
        self._told: dict[str, SlotsChanged] = {}
        self._waiting: set[Ticket] = set()
        self._paused_until = self._refused_until = -inf
        self._gap = 0.0
        """Seconds between two creates, where the server has refused them for coming too fast."""
        self._closed = False

    async def take(self, model: str, weight: int = 1) -> Ticket:
        """Wait for slots; cancelled while waiting, it leaves the queue."""
        ticket = self.ticket(model, weight)
        ticket.gate.enter(ticket)
        await self.turn(ticket)
        return ticket

    async def turn(self, ticket: Ticket) -> None:
        """Wait until this ticket may create."""
        self._waiting.add(ticket)
        try:
            while True:
                if self._closed:
                    raise ConfigurationError("this client is closed", advice="Open another one.")
                self._settle(ticket.gate)
                if ticket.stage != "queued" and not self._paused():
                    self._paused_until = anyio.current_time() + self._gap
                    return
                ticket.event = anyio.Event()
                with anyio.move_on_after(self._patience(ticket)):
                    await ticket.event.wait()
        except BaseException:
            self.leave(ticket)
            raise
        finally:
            self._waiting.discard(ticket)

    def accept(self, ticket: Ticket) -> None:
        """The create came back with a task."""
        self._gap = self._gap * _CLOSER if self._gap > _SHORTEST_GAP else 0.0
        ticket.gate.accept(ticket)
        self._look_after(ticket, ticket.gate.crowded)
        self._settle(ticket.gate)

    def refuse(self, ticket: Ticket) -> None:
        """The server said 1303; `turn` waits for the next try."""
        ticket.gate.refuse(ticket, anyio.current_time())
        self._settle(ticket.gate)

    def ticket(self, model: str, weight: int = 1) -> Ticket:
        """A claim that takes nothing yet."""
        if model not in self._gates:
            self._gates[model] = Gate(model, self._limit, self._settings, self._random)
        return Ticket(self._gates[model], weight)

    def adopt(self, ticket: Ticket) -> None:
        """The ticket's task runs already: it takes its slots, room or not."""
        ticket.gate.adopt(ticket)
        self._look_after(ticket, ticket.gate.crowded)
        if self._hooks:
            self._tell(ticket.gate)

    def leave(self, ticket: Ticket) -> None:
        """The task has ended, or never came to be; twice is as good as once."""
        if ticket.stage != "gone":
            ticket.gate.leave(ticket)
            self._look_after(ticket, False)
            self._settle(ticket.gate)

    def pause(self, seconds: float) -> None:
        """The server asks for fewer creates: none for so long, and then not so many at once."""
        now = anyio.current_time()
        if now >= self._refused_until:  # those that were refused together count once
            self._gap = min(max(_FARTHER * self._gap, 2 * _SHORTEST_GAP), _LONGEST_GAP)
        self._refused_until = max(self._refused_until, now + seconds)
        self._paused_until = max(self._paused_until, self._refused_until)

    def close(self) -> None:
        """Nobody creates any more: whoever waits for a slot is told so."""
        self._closed = True
        for ticket in self._waiting:
            ticket.wake()

    def _paused(self) -> float:
        """For how long nothing is sent."""
        return max(0.0, self._paused_until - anyio.current_time())

    def _patience(self, ticket: Ticket) -> float | None:
        """How long to wait before looking again; None is until somebody wakes it."""
        if ticket.stage != "queued":
            return self._paused()
        if ticket.gate.queue[0] is not ticket:
            return None  # the first one watches the clock for all
        return self._paused() or ticket.gate.wait(anyio.current_time())

    def _settle(self, gate: Gate) -> None:
        if not self._closed and not self._paused():
            while (ticket := gate.admit(anyio.current_time())) is not None:
                ticket.wake()
        if gate.queue:
            gate.queue[0].wake()  # it may have to watch the clock now
        # Tasks that nobody waits for must not be remembered without end.
        most = _FORGOTTEN // 2 if gate.crowded else _FORGOTTEN
        crowded = bool(gate.queue) or len(gate.members) > most
        if gate.crowded != crowded:
            gate.crowded = crowded
            for member in list(gate.members):
                self._look_after(member, gate.crowded)
        if self._hooks:
            self._tell(gate)

    def _tell(self, gate: Gate) -> None:
        limit = gate.limit if gate.ceiling is None else gate.ceiling
        event = SlotsChanged(gate.model, gate.running, len(gate.queue), limit)
        if self._told.get(gate.model) != event:
            self._told[gate.model] = event
            self._hooks.tell(event)

    def _look_after(self, ticket: Ticket, crowded: bool) -> None:
        """While others wait for slots, somebody has to notice the ends that free them."""
        if ticket.minded != crowded:
            ticket.minded = crowded
            self._mind(ticket)
