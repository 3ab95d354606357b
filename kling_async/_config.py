"""Every knob with its default: time-outs, connections, polling."""

from __future__ import annotations

from dataclasses import dataclass


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
class Polling:
    """When to ask about a task that is being waited for, in seconds."""

    interval: float = 5.0
    """Between two questions about a healthy task; its age does not stretch it."""
    max_interval: float = 60.0
    """The longest pause that back-off after errors grows to."""
    timeout: float | None = 7200.0
    """How long a wait lasts unless the caller says otherwise; None waits for ever.

    Kling's slow kinds take more than an hour in the wild.
    """
    not_found_grace: float = 60.0
    """How long "no such task" is taken for a server that lags behind its own create."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How long a create is tried that the server certainly did not carry out."""

    connect: int = 3
    """Attempts to get a connection."""
    busy: float = 3600.0
    """Seconds to wait while the server says that it is busy (1302, 1303, 5001)."""
    resends: int = 8
    """Further creates with the same id, each after the server said it knows no such task."""
    look_ups: int = 4
    """Attempts at one look-up of a create whose answer was lost."""


DEFAULT_MAX_CONNECTIONS = 20
"""Connections a client opens at most."""

MAX_DOWNLOADS = 8
"""Result files fetched at once."""

MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer that are read at most; a list page of 500 tasks has about 0.3 MB."""

MAX_RETRY_AFTER = 120.0
"""Seconds of a server's Retry-After that are obeyed; a longer one is an error."""
