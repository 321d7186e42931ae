"""``python -m queue_connector`` is the tool ``queue-connector``."""

from .cli import main

raise SystemExit(main())
