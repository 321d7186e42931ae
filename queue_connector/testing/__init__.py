"""What tests of one's own sources, sinks, pipes and encodings can use.

====================  ==========================================================================
`contracts`           what each of them owes, as classes to inherit
`checkpoints`         `cancel_at_every_step`: a scenario, cancelled at every checkpoint in turn
`clock`               `run_on_virtual_clock`: what the contracts run on
`endpoints`           sources, sinks and an attribute host that record what is done, and fault
====================  ==========================================================================

None of it needs pytest, though pytest finds the tests of a class that inherits a contract.
"""

from .checkpoints import cancel_at_every_step
from .clock import run_on_virtual_clock
from .contracts import CodecContract, PipeContract, SinkContract, SourceContract
from .endpoints import Attributes, Keeper, Numbers, Recorded

__all__ = [
    "Attributes",
    "CodecContract",
    "Keeper",
    "Numbers",
    "PipeContract",
    "Recorded",
    "SinkContract",
    "SourceContract",
    "cancel_at_every_step",
    "run_on_virtual_clock",
]
