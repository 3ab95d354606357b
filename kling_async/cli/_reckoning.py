"""Reckoning: what a run of the demo came to, by the server's books and by what was on the wire."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from .._events import Event, ExchangeFinished, TaskSubmitted

if TYPE_CHECKING:  # it is an extra, and may be missing
    from ..emulator import Emulator

_CROWDED = 429
_PARALLEL = "parallel"
_SURVIVED = {
    "lost_answer": "the answer of a create lost, after the bill",
    "lost_before": "a create lost on its way",
    _PARALLEL: "too many tasks at once (1303)",
    "reset": "a question lost",
    "truncated": "a download broken off",
    "expired_url": "the address of a video expired",
}
_TOLD = {
    "content": "refused for its content (1301), which costs nothing",
    "fail": "failed at the server, with its reason",
}


@dataclass(slots=True)
class Witness:
    """Listens on the client's side; `hook` is for the client."""

    known: set[str] = field(default_factory=set[str])
    """Tasks that the client came to know, however it did."""
    answered: int = 0
    lost: int = 0
    crowded: int = 0

    def hook(self, event: Event) -> None:
        """Something happened."""
        if isinstance(event, TaskSubmitted):
            self.known.add(event.task_id)
        if isinstance(event, ExchangeFinished) and event.method == "POST":
            self.answered += event.status == 200 and event.error is None
            self.lost += event.error is not None
            self.crowded += event.status == _CROWDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Reckoning:
    """The numbers of a run, and what they say of the promises."""

    requests: int
    saved: int
    created: int
    units: Decimal
    found_again: int
    sent_again: int
    polls: int
    faults: dict[str, int]
    seconds: float
    speed: float
    paid_twice: dict[str, int]
    """Prompts that more than one create was billed for, with how many."""
    missing: list[str]
    """Tasks that were billed and neither failed nor are on the disk."""

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return not self.paid_twice and not self.missing

    def facts(self) -> dict[str, object]:
        """For programs."""
        return {**asdict(self), "kept": self.kept}

    def text(self) -> str:
        """For people, in 80 columns."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        life = self.seconds * self.speed / 60
        yield f"{self.requests} requests in {self.seconds:.0f} s, {life:.0f} minutes of Kling's"
        for number, what in (
            (f"{self.created}", f"tasks created and billed, {self.units:f} units, to nobody"),
            (f"{self.saved}", "videos saved"),
            (f"{self.found_again}", "found again by their ids, when the answers were lost"),
            (f"{self.sent_again}", "sent again by the same id, as it had never arrived"),
            (f"{self.polls / max(self.created, 1):.1f}", "questions a task"),
        ):
            yield f"{number:>6}  {what}"
        for head, words in (("survived", _SURVIVED), ("told, as nothing helps", _TOLD)):
            yield f"{head}:"
            yield from (
                f"{self.faults[name]:>6}  {words[name]}" for name in words if name in self.faults
            )
        yield from self._verdict()

    def _verdict(self) -> Iterator[str]:
        if self.paid_twice:
            yield f"BROKEN: paid for twice: {', '.join(self.paid_twice)}."
        else:
            yield f"Nothing was paid for twice: {self.created} tasks, by the server's own books."
        if self.missing:
            yield f"BROKEN: paid for and not here: {', '.join(self.missing)}."
        else:
            yield "Nothing that was paid for was lost."


def reckon(
    emulator: Emulator, witness: Witness, *, requests: int, saved: set[str], seconds: float
) -> Reckoning:
    """Compare what the server has billed with the tasks that are *saved* here."""
    ledger = emulator.ledger
    paid = Counter(str(entry.body.get("prompt")) for entry in ledger)
    unanswered = len(ledger) - witness.answered
    unknown = {entry.task_id for entry in ledger} - witness.known
    states = {entry.task_id: emulator.tasks[entry.task_id].state for entry in ledger}
    struck = Counter(fault.value for fault, _ in emulator.faults.struck)
    return Reckoning(
        requests=requests,
        saved=len(saved),
        created=len(ledger),
        units=ledger.units,
        found_again=unanswered - len(unknown),
        sent_again=witness.lost - unanswered,
        polls=sum(seen.method == "GET" and "/v1/" in seen.path for seen in emulator.requests),
        faults={**struck, _PARALLEL: witness.crowded},
        seconds=round(seconds, 1),
        speed=emulator.clock.speed,
        # Not by their ids alone: a second create by another id would be paid for as well.
        paid_twice={prompt: number for prompt, number in paid.items() if number > 1}
        | ledger.billed_twice,
        missing=[
            task_id
            for task_id, state in states.items()
            if state.status != "failed" and task_id not in saved
        ],
    )
