"""How large an installed package is, and with all that it needs.

Run by the benchmarks: python -m benchmarks.peers.size NAME
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, PackagePath, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def needed(name: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    """The package and all that it needs without an extra."""
    if canonicalize_name(name) not in found:
        package = found[canonicalize_name(name)] = distribution(name)
        for line in package.requires or []:
            wish = Requirement(line)
            if wish.marker is None or wish.marker.evaluate({"extra": ""}):
                needed(wish.name, found)
    return found


def size(package: Distribution) -> int:
    """Bytes, without what Python compiles."""
    files = package.files or []
    if any(file.suffix == ".pth" for file in files):  # ours, in its source folder
        folder = Path(__file__).parent.parent.parent / "kling_async"
        return sum(path.stat().st_size for path in folder.rglob("*") if is_counted(path))
    places = [file.locate() for file in files if is_counted(file)]
    return sum(Path(str(place)).stat().st_size for place in places if Path(str(place)).is_file())


def is_counted(path: Path | PackagePath) -> bool:
    return path.suffix not in ("", ".pyc")


if __name__ == "__main__":
    packages = needed(sys.argv[1], {})
    own = size(packages[canonicalize_name(sys.argv[1])])
    print(json.dumps([own, sum(map(size, packages.values())), len(packages) - 1]))
