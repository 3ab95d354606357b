"""How long `kling --help` takes, beside what its parts would cost if they were loaded.

Run: python benchmarks/command_line.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

ROUNDS = 15
BARE = "python -c pass"
HELP = "kling --help"
CASES = {
    BARE: ["-c", "pass"],
    HELP: ["-c", "import sys; from kling_async.cli import main; sys.exit(main(['--help']))"],
    "import cyclopts": ["-c", "import cyclopts"],
    "kling models": ["-m", "kling_async", "models"],
    "kling text2video --help": ["-m", "kling_async", "text2video", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """How long a fresh interpreter takes."""
    # Installed packages come compiled; a source folder is compiled here, once, for a fair race.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment
    )
    return time.perf_counter() - started


def main() -> None:
    for arguments in CASES.values():  # the first time compiles and fills the file cache
        seconds(arguments)
    # Interleaved, so that a busy moment of the machine hits all cases alike.
    rounds = [{name: seconds(words) for name, words in CASES.items()} for _ in range(ROUNDS)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in CASES}

    print(f"median of {ROUNDS} fresh processes, ms   process   more")
    for name, median in medians.items():
        print(f"{name:<34} {median * 1000:8.1f} {(median - medians[BARE]) * 1000:6.1f}")


if __name__ == "__main__":
    main()
