"""Random fault schedules on a virtual clock, judged by a model.

Each is drawn by hypothesis: a schedule that fails is shrunk and printed as Python, and
`--hypothesis-seed=N` draws the same ones again.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.schedules import COUNT
from tests.schedules.model import judge
from tests.schedules.plan import anything
from tests.schedules.run import play


@pytest.mark.timeout(max(300, COUNT))
@settings(
    max_examples=COUNT,
    print_blob=True,
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(schedule=anything)
def test_what_arrives_is_what_the_model_says(schedule):
    assert judge(play(schedule)) == []
