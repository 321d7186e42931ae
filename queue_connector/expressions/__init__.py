"""JMESPath over data."""
