"""What may happen to data between source and sink."""
