"""How Sphinx makes a site of this folder; scripts/docs runs it."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

from kling_async import __version__

sys.path.insert(0, str(Path(__file__).parent))  # for `docstrings`

project = "kling_async"
author = "The kling_async authors"
version = release = __version__

extensions = ["docstrings", "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "kling_async"
html_show_copyright = html_show_sourcelink = html_copy_source = False

myst_heading_anchors = 3

default_role = "code"  # docstrings are written for `help()`, with code in single backticks
add_module_names = False
autodoc_default_options = {"members": True, "undoc-members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_type_aliases = {name: name for name in ("Event", "Hook", "Price", "Timeout", "Units")}
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88

RESULTS = "../benchmarks/RESULTS.md"


def _lead_to_results(app: Sphinx, page: str, source: list[str]) -> None:
    # Readers of the repository are led to the file, readers of the site to its copy there.
    if page != "results":
        source[0] = source[0].replace(RESULTS, "results.md")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _lead_to_results)
