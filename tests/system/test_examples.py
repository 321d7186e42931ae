"""The examples of the documentation against real Kafka."""

from tests.device.test_examples import (
    check_a_payload_that_does_not_decode,
    check_getting_started,
    check_image,
)


def test_getting_started(tmp_path, kafka):
    check_getting_started(tmp_path, kafka.bootstrap_servers)


def test_image(tmp_path, kafka):
    check_image(tmp_path, kafka.bootstrap_servers)


def test_a_payload_that_does_not_decode_faults_its_group_and_costs_nothing_else(
    tmp_path, kafka, topic
):
    check_a_payload_that_does_not_decode(tmp_path, kafka.bootstrap_servers, topic)
