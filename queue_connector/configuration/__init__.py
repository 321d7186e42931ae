"""A whole configuration, read and judged, and its JSON Schema."""
