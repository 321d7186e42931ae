"""``python -m queue_connector`` is the tool ``queue-connector``."""

from .entry import tool

raise SystemExit(tool())
