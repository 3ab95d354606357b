"""Runs the command line: `python -m kling_async`."""

from __future__ import annotations

import sys

from kling_async.cli import main

if __name__ == "__main__":
    sys.exit(main())
