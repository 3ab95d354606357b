"""(e) How much `import kling_async` adds to what its dependencies cost anyway.

Run: python benchmarks/import_time.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

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


if __name__ == "__main__":
    main()
