"""What a stream is made of and what a configuration says: data, endpoints, descriptors, errors."""
