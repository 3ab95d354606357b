"""Every knob but polling, with its default: time-outs, retries, slots, downloads, connections."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from ._errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long one HTTP exchange may take, in seconds."""

    connect: float = 10.0
    """Until the connection stands; a wrong-region host shows up here."""
    read: float = 60.0
    """Between two pieces of an answer."""
    write: float = 60.0
    """Between two pieces of a request; large Base64 media go out here."""
    total: float = 120.0
    """For the whole exchange. A create counts as possibly carried out until this is over."""
    farewell: float = 10.0
    """For a create that is on the wire when its caller is cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How long a create is tried that the server certainly did not carry out."""

    connect: int = 3
    """Attempts to get a connection."""
    busy: float = 3600.0
    """Seconds to wait while the server says that it is busy (1302, 5001)."""
    resends: int = 8
    """Further creates with the same id, each after the server said it knows no such task."""
    look_ups: int = 8
    """Attempts at one look-up of a create whose answer was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slotting:
    """How creates follow each other; what fits is learned where no `max_at_once` is set."""

    most_creates: float = inf
    """Creates on the wire at once, at most."""
    first_creates: int = 8
    """The same while the limit is not known, until eight times as many tasks run."""
    quiet: float = 60.0
    """Seconds without a refusal after which one task more is tried."""
    longest_quiet: float = 960.0
    """The longest such while: a refused try doubles it, an accepted one quarters it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloads:
    """How result files are fetched, and from where."""

    at_once: int = 8
    """Files being saved at the same time."""
    tries: int = 8
    """Attempts in a row that bring nothing new, before it is given up."""
    max_bytes: int = 2 * 1024**3
    """What is larger is refused."""
    http: bool = False
    """Take files over plain http too, where anybody on the way can change them."""
    private: bool = False
    """Take files from addresses of this machine and its network too."""


DEFAULT_MAX_CONNECTIONS = 20
"""Connections a client opens at most."""

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that are read at most; a list page of 500 tasks has about 0.3 MB."""

MAX_RETRY_AFTER = 120.0
"""Seconds of a server's Retry-After that are obeyed; a longer one is an error."""


def expect(name: str, value: object, kind: type[object], example: str) -> None:
    """Refuse a knob of another kind, but None."""
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"{name} is {type(value).__name__}; write {example}")
