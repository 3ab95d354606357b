"""Scripts what goes wrong: which fault strikes which request, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Literal

from kling_async.emulator._refusals import Refusal

Occasion = Literal["create", "query", "list", "file", "callback"]
"""The kind of request a fault can strike."""


class Fault(Enum):
    """What can go wrong."""

    LOST_BEFORE = "lost_before"
    """The connection closes before anything is committed."""
    LOST_ANSWER = "lost_answer"
    """The create is committed and billed, then the connection closes unanswered."""
    RESET = "reset"
    """The connection is reset in the middle of the answer."""
    STALL = "stall"
    """The create is committed, and the answer comes only after `seconds`."""
    TRUNCATED = "truncated"
    """The headers promise more bytes than come."""
    HTML = "html"
    """A proxy answers 502 with an HTML page."""
    SERVER_ERROR = "server_error"
    """500, code 5000."""
    BUSY = "busy"
    """503, code 5001."""
    GATEWAY_TIMEOUT = "gateway_timeout"
    """504, code 5002."""
    RATE = "rate"
    """429, code 1302: too fast."""
    PARALLEL = "parallel"
    """429, code 1303: too many tasks in progress."""
    ACCOUNT = "account"
    """429, code 1100: something is wrong with the account, for good."""
    ARREARS = "arrears"
    """429, code 1101: the account is in arrears, for good."""
    PACK_EXHAUSTED = "pack_exhausted"
    """429, code 1102: the resource pack is used up, for good."""
    IP = "ip"
    """429, code 1304: this address may not call, for good."""
    POLICY = "policy"
    """400, code 1300: against the platform's policy."""
    CONTENT = "content"
    """400, code 1301: against the content policy."""
    UNAUTHORIZED = "unauthorized"
    """401, code 1002."""
    NOT_FOUND = "not_found"
    """The task is said not to exist, though it does."""
    UNKNOWN_STATUS = "unknown_status"
    """The task is in a state nobody has heard of."""
    STALE = "stale"
    """An older state is told than was told before; waits until there is one."""
    STUCK = "stuck"
    """The task of this create never ends."""
    FAIL = "fail"
    """The task of this create ends failed, with `message` as the reason."""
    EMPTY = "empty"
    """200 with an empty body."""
    GARBAGE = "garbage"
    """200 with bytes that mean nothing."""
    EXPIRED_URL = "expired_url"
    """The file host says 403 to this URL for good; asking for the task gives a new one."""
    LATE_CALLBACK = "late_callback"
    """The callback comes `seconds` late, after those that follow it."""
    FORGED_CALLBACK = "forged_callback"
    """A stranger's callback, which claims success, comes before the true one."""
    DOUBLE_CALLBACK = "double_callback"
    """The callback comes twice."""


_F = Fault
REFUSALS = {
    _F.SERVER_ERROR: 5000,
    _F.BUSY: 5001,
    _F.GATEWAY_TIMEOUT: 5002,
    _F.RATE: 1302,
    _F.PARALLEL: 1303,
    _F.ACCOUNT: 1100,
    _F.ARREARS: 1101,
    _F.PACK_EXHAUSTED: 1102,
    _F.IP: 1304,
    _F.POLICY: 1300,
    _F.CONTENT: 1301,
    _F.UNAUTHORIZED: 1002,
}
"""The code each refusing fault answers with."""

# What an honest network and a busy server do, and a client must live with.
_CONNECTION = (_F.LOST_BEFORE, _F.LOST_ANSWER, _F.RESET, _F.TRUNCATED, _F.STALL)
_OUTAGE = (_F.HTML, _F.SERVER_ERROR, _F.BUSY, _F.GATEWAY_TIMEOUT)
_API = (*_CONNECTION, *_OUTAGE, _F.RATE, _F.EMPTY, _F.GARBAGE)
_CHAOS: dict[Occasion, tuple[Fault, ...]] = {
    "create": (*_API, _F.PARALLEL),
    "query": (*_API, _F.NOT_FOUND, _F.UNKNOWN_STATUS, _F.STALE),
    "list": _API,
    "file": (*_CONNECTION, *_OUTAGE, _F.EXPIRED_URL),
    "callback": (_F.LATE_CALLBACK, _F.FORGED_CALLBACK, _F.DOUBLE_CALLBACK),
}

_ANY: tuple[Occasion, ...] = ("create", "query", "list", "file")
_API_ONLY: tuple[Occasion, ...] = ("create", "query", "list")
_OCCASIONS: dict[Fault, tuple[Occasion, ...]] = {
    **dict.fromkeys(REFUSALS, _API_ONLY),
    **dict.fromkeys((*_CONNECTION, *_OUTAGE, _F.EMPTY, _F.GARBAGE), _ANY),
    **dict.fromkeys((_F.STUCK, _F.FAIL), ("create",)),
    **dict.fromkeys((_F.NOT_FOUND, _F.UNKNOWN_STATUS, _F.STALE), ("query",)),
    _F.EXPIRED_URL: ("file",),
    **dict.fromkeys(_CHAOS["callback"], ("callback",)),
}

_UNCOMMITTED = frozenset({_F.LOST_BEFORE, _F.HTML, *REFUSALS})
_EITHER_WAY = frozenset({_F.HTML, _F.SERVER_ERROR, _F.BUSY, _F.GATEWAY_TIMEOUT})
_CHAOS_STALL = 120.0


@dataclass(slots=True)
class Strike:
    """A fault in wait; `times` counts down to 0 as it strikes.

    Args:
        on: The kind of request it strikes.
        seconds: How long a stall or a late callback takes, of the loop's time.
        commit: Whether a create is committed all the same, where that is open.
        after: How many matching requests are spared first.
        endpoint: Only requests of this kind, such as "text2video".
        task: Only this task, by either id; at a create, by external id.
        message: The reason a FAIL gives, or the words of a refusal.
        retry_after: A Retry-After header, in seconds, on a refusal.
    """

    fault: Fault
    on: Occasion
    times: int = 1
    seconds: float = 3600.0
    commit: bool = False
    after: int = 0
    endpoint: str | None = None
    task: str | None = None
    message: str | None = None
    retry_after: float | None = None

    @property
    def commits(self) -> bool:
        """Whether the request does its work before the fault shows."""
        return self.commit or self.fault not in _UNCOMMITTED

    @property
    def refusal(self) -> Refusal | None:
        """What a refusing fault says."""
        code = REFUSALS.get(self.fault)
        return None if code is None else Refusal(code, self.message)


class Faults:
    """The script: faults in wait, and chance."""

    def __init__(self, random: Random, chaos: float = 0.0) -> None:
        self.chaos = chaos
        self.pending: list[Strike] = []
        self.struck: list[tuple[Fault, Occasion]] = []
        self._random = random

    @property
    def armed(self) -> bool:
        """Whether anything can go wrong at all."""
        return bool(self.pending or self.chaos)

    def add(
        self,
        fault: Fault,
        *,
        on: Occasion | None = None,
        times: int = 1,
        seconds: float = 3600.0,
        commit: bool = False,
        after: int = 0,
        endpoint: str | None = None,
        task: str | None = None,
        message: str | None = None,
        retry_after: float | None = None,
    ) -> Strike:
        """Let a fault strike the next `times` matching requests; see `Strike`.

        Without `on` it strikes where the fault is at home, creates before all.
        """
        homes = _OCCASIONS[fault]
        on = homes[0] if on is None else on
        if on not in homes:
            raise ValueError(f"{fault.name} cannot strike a {on}, only: {', '.join(homes)}")
        if commit and fault not in _EITHER_WAY:
            raise ValueError(f"commit= is not open for {fault.name}")
        strike = Strike(
            fault, on, times, seconds, commit, after, endpoint, task, message, retry_after
        )
        self.pending.append(strike)
        return strike

    def clear(self) -> None:
        """Forget the faults in wait."""
        self.pending.clear()

    def draw(
        self,
        on: Occasion,
        *,
        endpoint: str,
        names: tuple[str | None, ...],
        impossible: frozenset[Fault] = frozenset(),
    ) -> Strike | None:
        """The fault that strikes this request, if one does.

        Args:
            names: The ids the request is about.
            impossible: Faults that make no sense for it now, and so keep waiting.
        """
        for strike in self.pending:
            if strike.on != on or strike.fault in impossible:
                continue
            if strike.endpoint not in (None, endpoint):
                continue
            if strike.task is not None and strike.task not in names:
                continue
            if strike.after > 0:
                strike.after -= 1
                continue
            return self._strike(strike)
        return self._chance(on, impossible)

    def _strike(self, strike: Strike) -> Strike:
        strike.times -= 1
        if strike.times <= 0:
            self.pending.remove(strike)
        self.struck.append((strike.fault, strike.on))
        return strike

    def _chance(self, on: Occasion, impossible: frozenset[Fault]) -> Strike | None:
        if not self.chaos or self._random.random() >= self.chaos:
            return None
        fault = self._random.choice([f for f in _CHAOS[on] if f not in impossible])
        commit = fault in _EITHER_WAY and self._random.random() < 0.5
        self.struck.append((fault, on))
        return Strike(fault, on, seconds=_CHAOS_STALL, commit=commit)
