"""Plays the submission protocol without a server or a clock: answers in, moves and end out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from kling_async import (
    AnswerLost,
    BalanceExhausted,
    ConnectFailed,
    DuplicateTaskId,
    InvalidRequest,
    KlingError,
    ParallelLimit,
    Retries,
    ServerError,
    TaskNotFound,
    TaskState,
    TaskStatus,
)
from kling_async._submit import Move, Outcome, Pause, Rules, submission

ID = "ka-7"
TASK = TaskState("7", TaskStatus.SUBMITTED, external_task_id=ID)
LOST, BUSY, OFFLINE = AnswerLost("lost"), ParallelLimit("busy", code=1303), ConnectFailed("no")
EMPTY = BalanceExhausted("empty", code=1102)
REFUSED, ABSENT = InvalidRequest("no", code=1201), TaskNotFound("absent", code=1201)
TAKEN = DuplicateTaskId("External_task_id ka-7 already exists", code=1201)
DOWN = ServerError("down", code=5000, status=500)
WIRE = 120.0


def rules(**changes: Any) -> Rules:
    """The official server's, unless changed: look-ups work and duplicates are refused."""
    known: dict[str, Any] = {"answers_look_ups": True, "trusts_not_found": True}
    known["retries"] = Retries(look_ups=4)
    return Rules(external_task_id=ID, on_the_wire=WIRE, **(known | changes))


@dataclass
class Played:
    """How a protocol went."""

    moves: list[Move] = field(default_factory=list[Move])
    end: TaskState | KlingError | None = None

    @property
    def shape(self) -> str:
        """S for each send, A for each look-up, P for each pause, W for one as long as the wire."""
        long = Pause(WIRE)
        return "".join("W" if move == long else type(move).__name__[0] for move in self.moves)

    @property
    def pauses(self) -> list[float]:
        """How long each pause is."""
        return [move.seconds for move in self.moves if isinstance(move, Pause)]


def play(known: Rules, *answers: Outcome, seed: int = 1) -> Played:
    """Run the protocol against prepared answers to its sends and look-ups."""
    left = list(answers)
    played = run(known, lambda move: None if isinstance(move, Pause) else left.pop(0), Random(seed))

    assert not left
    return played


def run(known: Rules, answer: Callable[[Move], Outcome], random: Random) -> Played:
    """Run the protocol against anything that answers."""
    protocol, played, outcome = submission(known, random), Played(), None
    try:
        while True:
            move = protocol.send(outcome)
            played.moves.append(move)
            outcome = answer(move)
    except StopIteration as done:
        played.end = done.value
    except KlingError as error:
        played.end = error
    return played
