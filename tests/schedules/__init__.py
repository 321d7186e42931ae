"""Random fault schedules: what they say, endpoints that play them, and a model that judges.

* `plan`        a schedule as data, and how schedules are drawn
* `simulated`   durable logs, sources, pipes, policies and sinks on a virtual clock
* `run`         the lives of a connector: commands, crashes, the close
* `model`       what must have arrived, computed from the schedule and from what the ends saw
* `sharing`     members of a Kafka group, with schedules and a judge of its own

The model uses nothing of the engine: it counts, orders and judges by itself.

The environment variable ``QUEUE_CONNECTOR_SCHEDULES`` says how many there are, `COUNT`. A tenth as
many, and ten at least, are those of rebalances and of elections: `FEWER`.
"""

import os

COUNT = int(os.environ.get("QUEUE_CONNECTOR_SCHEDULES", "100"))
FEWER = max(10, COUNT // 10)
