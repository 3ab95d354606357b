"""Address: where the database of a fleet is; it may hold a password, and so is never shown."""

from __future__ import annotations

import sqlite3
import sys

import sqlalchemy
import sqlalchemy.exc

from kling_async._errors import ConfigurationError

_PYTHON = tuple(sys.version_info)


def check_address(url: str) -> None:
    """Refuse what is no database's, without a word of it."""
    try:
        parsed = sqlalchemy.make_url(url)
    except sqlalchemy.exc.ArgumentError:
        parsed = None
    kind = "" if parsed is None else parsed.get_backend_name()
    if kind not in ("postgresql", "postgres", "sqlite"):
        raise ConfigurationError(
            "database_url is no address of PostgreSQL",
            advice="Give postgresql://user:password@host/name, what is special in them as %40.",
        )
    if kind == "sqlite" and (parsed is None or parsed.database in (None, "", ":memory:")):
        raise ConfigurationError("database_url: SQLite needs a file", advice="sqlite:///fleet.db")
    # From Python 3.12 on, DBOS asks SQLite for milliseconds, be it able to tell them or not.
    if kind == "sqlite" and _PYTHON >= (3, 12) and sqlite3.sqlite_version_info < (3, 42):
        raise ConfigurationError(
            f"DBOS needs SQLite 3.42 or later here, and this Python has {sqlite3.sqlite_version}",
            advice="Give the address of a PostgreSQL.",
        )
