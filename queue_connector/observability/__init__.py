"""What is counted, as metrics, and the port that serves them."""
