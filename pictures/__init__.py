"""Makes the pictures of the documentation: real commands and pages of a demonstration that runs."""
