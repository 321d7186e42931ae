"""What programs may use, and nothing else: everything deeper may change at any time."""

from .codecs import (
    Codec as Codec,
    codecs as codecs,
)
from .configuration.document import parse as parse
from .connector import (
    Announcement as Announcement,
    AttributePublisher as AttributePublisher,
    Connector as Connector,
    open_connector as open_connector,
)
from .engine.exchange import Exchange as Exchange
from .engine.state import (
    Health as Health,
    State as State,
)
from .engine.supervisor import Supervisor as Supervisor
from .model.condition import Condition as Condition
from .model.datatypes import DataSpec as DataSpec, Kind as Kind
from .model.delivery import Delivery as Delivery
from .model.endpoints import (
    ErrorPolicyDescriptor as ErrorPolicyDescriptor,
    PipeDescriptor as PipeDescriptor,
    SinkDescriptor as SinkDescriptor,
    SourceDescriptor as SourceDescriptor,
    error_policies as error_policies,
    pipes as pipes,
    sinks as sinks,
    sources as sources,
)
from .model.errors import (
    ConfigError as ConfigError,
    ConformError as ConformError,
    DataError as DataError,
    DecodeError as DecodeError,
    EncodeError as EncodeError,
    EndpointError as EndpointError,
    ExchangeError as ExchangeError,
    Fault as Fault,
    QueueConnectorError as QueueConnectorError,
    StateError as StateError,
)
from .model.exchanges import (
    ExchangeDescriptor as ExchangeDescriptor,
    QueueConnectorDescriptor as QueueConnectorDescriptor,
)
from .model.ledger import (
    Batch as Batch,
    Ledger as Ledger,
    Refusal as Refusal,
)
from .model.option import option as option
from .model.probe import Probe as Probe
from .model.provenance import Provenance as Provenance
from .model.services import (
    Place as Place,
    PublishedAttribute as PublishedAttribute,
    Services as Services,
)
from .model.stream import (
    DataPipe as DataPipe,
    DataSink as DataSink,
    DataSource as DataSource,
    ErrorPolicy as ErrorPolicy,
    MergedSource as MergedSource,
)
from .runtime.inbox import Inbox as Inbox, Mailbox as Mailbox
from .runtime.lane import Lane as Lane
from .runtime.loop import TrioThread as TrioThread
from .runtime.worker import Worker as Worker, check_cancelled as check_cancelled

__version__: str
