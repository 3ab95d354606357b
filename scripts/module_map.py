"""Write the map of modules in CONTRIBUTING.md from the first sentence of every module."""

from __future__ import annotations

import ast
import difflib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "CONTRIBUTING.md"
MAP = re.compile(r"(<!-- map -->\n).*?(<!-- end of map -->)", re.DOTALL)


def first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[.?!]) (?=[A-Z])", paragraph)[0]


def drawn() -> str:
    return "".join(
        f"- `{path.relative_to(ROOT).as_posix()}`: {first_sentence(path)}\n"
        for path in sorted((ROOT / "kling_async").rglob("*.py"))
    )


def main(*, check: bool) -> int:
    old = GUIDE.read_text(encoding="utf-8")
    new = MAP.sub(lambda found: f"{found[1]}{drawn()}{found[2]}", old)
    if check:
        diff = difflib.unified_diff(old.splitlines(), new.splitlines(), "is", "ought to be", n=0)
        sys.stdout.writelines(f"{line}\n" for line in diff)
        return int(old != new)
    GUIDE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
