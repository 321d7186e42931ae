"""Real services for the system tests: Apache Kafka and etcd, started and hurt by the tests."""
