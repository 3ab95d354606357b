"""(e) What an import costs over that of the dependencies, and what an installation weighs.

Run: python benchmarks/import_time.py
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.peers.contenders import OURS
from benchmarks.peers.league import PEERS_PYTHON, ROOT, contenders

ROUNDS = 10
DEPENDENCIES = "its dependencies"
IN_USE = "kling_async, in use"
CASES = {
    "nothing": "pass",
    # `import pydantic` alone loads next to nothing: it waits for the first name asked for.
    DEPENDENCIES: "import httpx, anyio; from pydantic import BaseModel",
    "kling_async": "import kling_async",
    IN_USE: "from kling_async import Kling",
}
EXTRAS = [
    "PIL",
    "aiohttp",
    "jwt",
    "opentelemetry",
    "pytest",
    "respx",
    "standardwebhooks",
    "starlette",
    "uvicorn",
]


def run(code: str) -> str:
    """Run the code in a fresh interpreter and return what it printed."""
    # Installed packages come compiled; a source folder is compiled here, once, for a fair race.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout


def seconds(code: str) -> float:
    started = time.perf_counter()
    run(code)
    return time.perf_counter() - started


def main() -> None:
    for code in CASES.values():  # the first time compiles and fills the file cache
        run(code)
    # Interleaved, so that a busy moment of the machine hits all cases alike.
    rounds = [{name: seconds(code) for name, code in CASES.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in CASES}
    bare = medians["nothing"]
    loaded = run(f"{CASES[IN_USE]}; import sys; print(*[m for m in {EXTRAS} if m in sys.modules])")

    print(f"median of {ROUNDS} fresh processes, ms   process   import")
    for name, median in medians.items():
        print(f"{name:<34} {median * 1000:8.1f} {(median - bare) * 1000:8.1f}")
    ratio = (medians[IN_USE] - bare) / (medians[DEPENDENCIES] - bare)
    print(f"{IN_USE} / {DEPENDENCIES}: {ratio:.2f}")
    print(f"extras imported: {loaded.strip() or 'none'}")
    show_sizes()


def show_sizes() -> None:
    print(f"\n{'installed, without .pyc':<34} {'kB':>8} {'MB in all':>10} {'packages':>9}")
    peers = [name for name in contenders() if name not in OURS]
    for name in ["kling_async", *peers]:
        python = sys.executable if name == "kling_async" else str(PEERS_PYTHON)
        command = [python, "-m", "benchmarks.peers.size", name.removeprefix("a loop on ")]
        done = subprocess.run(command, check=True, stdout=-1, text=True, cwd=ROOT)
        own, together, packages = json.loads(done.stdout)
        print(f"{name:<34} {own / 1000:>8.0f} {together / 1e6:>10.1f} {packages:>9}")


if __name__ == "__main__":
    main()
