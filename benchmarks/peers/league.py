"""The benchmark's side: the server's process, and a process for each contender's run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.peers.contenders import OURS, PEERS

ROOT = Path(__file__).parent.parent.parent
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"


@dataclass(frozen=True)
class League:
    """One server, and whoever is measured against it."""

    origin: str
    folder: Path

    def control(self, name: str, **wish: object) -> Any:
        request = Request(f"{self.origin}/-/{name}", json.dumps(wish).encode())
        with urlopen(request) as answer:
            return json.load(answer)

    def start(self, contender: str, **wish: object) -> subprocess.Popen[str]:
        """Let it run; its figures are for `result`."""
        python = sys.executable if contender in OURS else str(PEERS_PYTHON)
        wish = {"contender": contender, "origin": self.origin, "clock": None, **wish}
        command = [python, "-m", "benchmarks.peers.heat", json.dumps(wish)]
        return subprocess.Popen(command, cwd=ROOT, stdout=-1, text=True)

    def tasks(
        self,
        contender: str,
        number: int,
        *,
        rounds: int = 1,
        takes: float | None = None,
        options: Mapping[str, object],
    ) -> Mapping[str, Any]:
        """One run in virtual time: what the client spent and what the server saw."""
        with TemporaryDirectory(dir=self.folder) as name:
            clock = Path(name) / "clock"
            clock.write_bytes(bytes(8))
            self.control("begin", clock=str(clock), takes=takes)
            wish = {"tasks": number, "rounds": rounds, "options": options}
            run = self.start(contender, clock=str(clock), **wish)
            return {**result(run), **self.control("figures")}


def result(run: subprocess.Popen[str]) -> Any:
    said, _ = run.communicate()
    if run.returncode:
        raise SystemExit(f"{run.args!r} failed")
    return json.loads(said)


@contextmanager
def league() -> Generator[League]:
    """Run the server while the block runs."""
    command = [sys.executable, "-m", "benchmarks.peers.server"]
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        yield League(f"http://127.0.0.1:{int(server.stdout.readline())}", Path(folder))
        server.stdin.close()


@cache
def contenders() -> list[str]:
    """Ours, and the peers if their environment is there."""
    if not PEERS_PYTHON.exists():
        print("no .venv-peers here: without the peers; scripts/bench installs them")
        return list(OURS)
    return [*OURS, *PEERS]
