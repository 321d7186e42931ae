import sys
import tomllib
from pathlib import Path

_here = Path(__file__).parent
_project = tomllib.loads((_here.parent / "pyproject.toml").read_text("utf-8"))

sys.path.insert(0, str(_here / "_ext"))

project = "Queue Connector"
author = "Queue Connector developers"
copyright = f"2026, {author}"
release = version = _project["project"]["version"]

extensions = ["myst_parser", "registry_tables"]
exclude_patterns = ["_ext"]
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "html_image"]
myst_heading_anchors = 3
smartquotes = False  # two quotes in a table are an empty text

html_theme = "furo"
html_title = f"{project} {release}"
nitpicky = True
