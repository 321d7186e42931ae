"""The contracts that every source, sink, pipe and encoding keeps."""

from queue_connector_example.clock import ClockSourceDescriptor
from queue_connector_example.csv import CsvCodec
from queue_connector_example.log import LogSinkDescriptor
from queue_connector_example.scale import ScalePipeDescriptor

import queue_connector as qc
from queue_connector.testing import CodecContract, PipeContract, SinkContract, SourceContract


class TestClock(SourceContract):
    def source(self):
        return ClockSourceDescriptor(period=0.5).build(qc.DataSpec("float64"), qc.Services())


class TestLog(SinkContract):
    def sink(self):
        return LogSinkDescriptor().build(qc.DataSpec("float64"), qc.Services())

    def values(self):
        return [1.0, 2.5]


class TestScale(PipeContract):
    def pipe(self):
        return ScalePipeDescriptor(factor=2.5).build(qc.DataSpec("float64"))


class TestCsv(CodecContract):
    def codec(self):
        return CsvCodec()

    def samples(self):
        return [(qc.DataSpec("int32"), 7), (qc.DataSpec("float64", (3,)), [1.5, -2.0, 3e100])]
