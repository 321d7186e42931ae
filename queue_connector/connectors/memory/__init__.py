"""Values from the configuration, and a sink that keeps what it gets: for tests and trials."""
