"""Streams: standard output and standard error, made fit for whatever is to be said."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def prepare() -> str | None:
    """Make the streams ready; says what is wrong if results could be told to nobody."""
    streams: tuple[TextIO | None, TextIO | None] = (sys.stdout, sys.stderr)
    out, err = streams
    if err is None:  # it was closed; print would take standard output in its place
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  # as long as the process lasts
    if out is None:
        return "standard output is closed; give >/dev/null if nobody is to read it"
    for stream in (out, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # No name of a file must end a command, nor be longer than it was measured.
            reconfigure(errors="replace")
    return None


def say(text: str) -> None:
    """Say *text*, and be content if whoever asked has gone."""
    stream: TextIO | None = sys.stdout
    with suppress(OSError):
        print(text, end="", file=stream)
    silence()


def silence() -> None:
    """Write no more to whoever has gone, at the end of the process neither."""
    streams: tuple[TextIO | None, ...] = (sys.stdout, sys.stderr)
    for stream in streams:
        try:
            print(end="", file=stream, flush=True)
        except OSError:
            assert stream is not None
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
