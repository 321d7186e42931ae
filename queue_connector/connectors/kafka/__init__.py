"""Kafka topics, by confluent-kafka."""
