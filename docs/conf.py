"""Configure the documentation site; `make docs` builds it, offline, and a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "streetlab"
author = "the streetlab developers"
extensions = [
    "myst_nb",  # MyST pages, and notebooks among them
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "config_reference",
    "internal_links",
    "study_plots",
]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "streetlab"
html_static_path = ["_static"]
html_css_files = ["notebook.css"]
html_js_files = ["scrolling.js"]
html_show_sphinx = False
html_theme_options = {"source_directory": "docs/"}
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nb_execution_mode = "cache"  # executed again where a notebook has changed
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "remove"  # bars, log lines and warnings
suppress_warnings = ["config.cache"]
linkcheck_ignore = [r"http://127\.0\.0\.1.*"]
