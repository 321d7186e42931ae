from queue_connector.model.condition import Condition


def test_since_when_it_waits_is_kept_while_the_reason_changes():
    condition = Condition()
    condition.waits("the broker", "connection refused")
    since = condition.since
    assert since.endswith("Z")
    condition.waits("the topic")
    assert (condition.waiting_for, condition.since) == ("the topic", since)
    assert condition.error == "connection refused"


def test_what_is_well_waits_for_nothing_and_remembers_the_last_error():
    condition = Condition()
    condition.waits("the broker", "connection refused")
    condition.is_well()
    told = condition.as_dict()
    assert told["connected"]
    assert (told["waiting_for"], told["since"]) == ("", "")
    assert told["error"] == "connection refused"


def test_gauges_are_numbers_of_the_moment():
    queue = [1, 2]
    condition = Condition(gauges={"queued": lambda: len(queue)})
    queue.append(3)
    assert condition.as_dict()["queued"] == 3
