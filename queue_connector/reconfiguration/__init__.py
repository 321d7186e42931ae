"""Follows a configuration database, and tells it how the groups are."""
