"""Tango attributes and their events, by PyTango."""
