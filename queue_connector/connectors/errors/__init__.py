"""What becomes of data that cannot be used: error policies that need no endpoint."""
