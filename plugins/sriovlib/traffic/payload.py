"""The file of a plugin of xcp-rrdd, protocol version 2. Pure.

`DATASOURCES`, checksum of time and values, checksum of the metadata, number of values, time, values, length
of the metadata, metadata in JSON, all numbers big-endian (xen-api: ocaml/xcp-rrdd/lib/transport/base/
rrd_protocol_v2.ml). The metadata have a key a data source, in the order of the values, and two VMs have data
sources of one name: rrdd reads both, as from its own rrdp-netdev, but a Python dict keeps one of them. So
this is not written with dom0's rrdd.py, which would give all values after that to the wrong VMs.
"""

import json
import struct
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple
from zlib import crc32

from .drivers import Counting
from .rates import Carried

MAGIC = b"DATASOURCES"
_HEAD = struct.Struct(">11sLLLd")
FIRST = 100  # the VF of request 1 is vif_101: a VM has fewer VIFs than that


class Source(NamedTuple):
    """A data source of a VM."""

    vm_uuid: str
    name: str
    description: str
    units: str


def sources(
    carried: Mapping[str, Carried], counting: Mapping[str, Counting]
) -> Tuple[List[Source], List[float]]:
    """The data sources of these VFs and their values; `counting`: how each VF's driver counts. A request that
    has two VFs at once, as nothing should, has none."""
    found: List[Source] = []
    values: List[float] = []
    of_request: Dict[Tuple[str, int], int] = {}
    for one in carried.values():
        key = (one.holder.vm_uuid, one.holder.request)
        of_request[key] = of_request.get(key, 0) + 1
    for vf in sorted(carried):
        one, how = carried[vf], counting[vf]
        number, counted = one.holder.request, one.counters
        if of_request[one.holder.vm_uuid, number] > 1:
            continue
        name, of = f"vif_{FIRST + number}", f"by the VF of request {number}"
        wanted = [
            (True, f"{name}_rx", f"Bytes per second received {of}", "B/s", counted.rx_bytes),
            (True, f"{name}_tx", f"Bytes per second sent {of}", "B/s", counted.tx_bytes),
            (
                how.rx_dropped,
                f"{name}_rx_errors",
                f"Received frames dropped {of}",
                "err/s",
                counted.rx_dropped,
            ),
            (how.tx_dropped, f"{name}_tx_errors", f"Sent frames dropped {of}", "err/s", counted.tx_dropped),
        ]
        for is_counted, called, description, units, value in wanted:
            if is_counted:
                found.append(Source(one.holder.vm_uuid, called, description, units))
                values.append(value / one.seconds)
    return found, values


def metadata(data_sources: Sequence[Source]) -> bytes:
    """A gauge is stored as it is: rrdd takes no differences, which would be wrong after a reboot, when it
    counts from 0 (ocaml/libs/xapi-rrd/lib/rrd.ml, process_ds_value with new_rrd)."""
    parts = []
    for source in data_sources:
        said = {
            "description": source.description,
            "owner": f"vm {source.vm_uuid}",
            "value_type": "float",
            "type": "gauge",
            "default": "true",
            "units": source.units,
            "min": "0.0",
            "max": "infinity",
        }
        parts.append(f"{json.dumps(source.name)}:{json.dumps(said, separators=(',', ':'))}")
    return f'{{"datasources":{{{",".join(parts)}}}}}'.encode()


def payload(values: Sequence[float], described: bytes, now: float) -> bytes:
    """`now` in seconds since 1970."""
    checked = struct.pack(f">{1 + len(values)}d", now, *values)
    head = _HEAD.pack(MAGIC, crc32(checked), crc32(described), len(values), now)
    return head + checked[8:] + struct.pack(">L", len(described)) + described
