"""Twenty-four videos of four kinds on an emulator that fails in every way; no key, no bill.

Run it with ``scripts/demo [FOLDER]``, or as ``kling demo``: it leaves MP4 files and a report.
"""

from __future__ import annotations

import sys

from kling_async.cli import main

if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
