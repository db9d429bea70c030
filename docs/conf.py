"""Settings of the documentation site. `make docs` builds it."""

import sys
from pathlib import Path

import bulkpages

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "_ext")]

project = "bulkpages"
author = "the authors of bulkpages"
copyright = author  # noqa: A001
version = release = bulkpages.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "eras", "product"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext", "_pictures", "pictures"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Docstrings are read as text too: one backtick is code.
default_role = "literal"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_display_short_literal_types = True
maximum_signature_line_length = 100

nitpicky = True
# Names of other packages: their pages are on other sites, and the build needs no network. And parts of annotations that
# are no names: strings in Literal[...], halves of dict[..., ...].
nitpick_ignore_regex = [
    (r"py:.*", r"(collections|pathlib|typing|matplotlib|numpy|os|types|hypothesis|concurrent)\..*"),
    (r"py:.*", r"(_?drgn|bulkpages\._core)\..*"),
    (r"py:.*", r"(PathLike|Path|Any|Self|NamedTuple|Figure|Mapping|Sequence|Iterator|Iterable|Callable)"),
    (r"py:.*", r"(Stream|bulkpages\.testing\.Side)"),
    (r"py:class", r".*[\['].*"),
]

BRAND = ("color-brand-primary", "color-brand-content", "color-api-name", "color-api-pre-name")
html_theme = "furo"
html_title = "bulkpages"
html_static_path = ["_static"]
html_css_files = ["bulkpages.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": dict.fromkeys(BRAND, "#0b7285"),
    "dark_css_variables": dict.fromkeys(BRAND, "#3fb6c6"),
}
highlight_language = "text"
pygments_style = "friendly"
pygments_dark_style = "monokai"
