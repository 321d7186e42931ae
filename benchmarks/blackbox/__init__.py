"""The connector beside the bare client libraries, each in a process of its own, on the same work.

``python -m benchmarks.blackbox [CASE ...]``, see `loads`. Whoever does the work is a contender:

* ``connector``  ``queue-connector serve``
* ``bare``       the least that PyTango and confluent-kafka can be made to do it with
* ``asyncio``    the same with PyTango's asyncio green mode and aiokafka

They take turns, several times, and medians are compared: the machine's speed drifts.
"""
