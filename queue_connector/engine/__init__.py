"""Exchanges at work, in groups, under one supervisor."""
