"""Entities of the SDP's configuration database, as its pipelines write them."""

from __future__ import annotations

from typing import Any

FUNCTION = "ska-sdp-lmc-queue-connector:exchange"
DEVICE = "test-sdp/queueconnector/01"
EB, PB = "eb-test-20260101-a", "pb-test-20260101-a"

Entities = dict[str, Any]
"""Path → what stands there."""


def blocks(eb: str = EB, pb: str = PB, subarray: str | None = "01", status: str = "ACTIVE"):
    """An execution block with its state, and a processing block."""
    return {
        f"/eb/{eb}": {"key": eb, "subarray_id": subarray, "pb_realtime": [pb]},
        f"/eb/{eb}/state": {"status": status},
        f"/pb/{pb}": {"key": pb, "eb_id": eb, "script": {}, "parameters": {}, "dependencies": []},
    }


def queue(topics="metrics-01", form="json", host="127.0.0.1:9092") -> Entities:
    return {"kind": "data-queue", "host": host, "topics": topics, "format": form}


def attribute(name, dtype="DevDouble", x=1, y=0, device=DEVICE, **more) -> Entities:
    trl = f"tango://{device}/{name}"
    return {
        "kind": "tango",
        "attribute_trl": trl,
        "dtype": dtype,
        "max_dim_x": x,
        "max_dim_y": y,
        **more,
    }


def uri(name, kind="data-queue", pb=PB):
    return f"/flow/{pb}:{kind}:{name}"


def flow(sink, *uris, function=FUNCTION, model="Metrics", **parameters) -> Entities:
    """The value of a flow that reads from these."""
    sources = [{"uri": each, "function": function, "parameters": parameters} for each in uris]
    return {"data_model": model, "sink": sink, "sources": sources}
