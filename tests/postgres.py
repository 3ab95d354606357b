"""Postgres: a throw-away server on a free port, in a folder of its own; never the system's."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

_PATIENCE = 30.0


def newest() -> Path | None:
    """The folder of the newest server's programs, if there is one."""
    found = [
        path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()
    ]
    return max(found, key=lambda path: float(path.parent.name), default=None)


class Postgres:
    """A server that can be stopped, in the worst way too, and started again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        # The server refuses to run as root.
        self._user: int | None = None
        self._group: int | None = None
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            self._user, self._group = user.pw_uid, user.pw_gid
            os.chown(folder, self._user, self._group)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        options = ("--username=kling", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self._run("initdb", "-D", str(self._data), *options)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._programs / program, *arguments],
            check=True,
            capture_output=True,
            cwd=self._folder,
            user=self._user,
            group=self._group,
        )

    def url(self, database: str) -> str:
        return f"postgresql://kling@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = ("listen_addresses=127.0.0.1", f"unix_socket_directories={self._folder}")
        options = [word for each in settings for word in ("-c", each)]
        with open(self._folder / "log", "ab") as log:
            self._process = process = subprocess.Popen(
                [
                    self._programs / "postgres",
                    "-D",
                    str(self._data),
                    "-p",
                    str(self._port),
                    *options,
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                user=self._user,
                group=self._group,
            )
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.05)

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it; `immediate` is a crash, after which it must recover."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            self._process.wait(_PATIENCE)
            self._process = None

    def new(self) -> str:
        """The address of a new database."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@contextmanager
def running(programs: Path) -> Generator[Postgres]:
    """A server that is gone at the end, with all it had."""
    folder = Path(tempfile.mkdtemp(prefix="kling-postgres-"))
    folder.chmod(0o755)
    try:
        postgres = Postgres(programs, folder)
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop(immediate=True)
    finally:
        shutil.rmtree(folder)


def dump(url: str) -> str:
    """All that the database holds, as text."""
    rows: list[str] = []
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
            " WHERE table_schema = 'dbos'"
        ).fetchall()
        for (table,) in tables:
            rows += map(repr, connection.execute(f"SELECT * FROM {table}".encode()).fetchall())
    return "\n".join(rows)
