"""A source, a sink, a pipe and an encoding for the Queue Connector, in a package of their own."""
