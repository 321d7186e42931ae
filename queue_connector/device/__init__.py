"""The Tango device and its server."""
