"""The file of a plugin of xcp-rrdd, protocol version 2. Pure.

`DATASOURCES`, checksum of time and values, checksum of the metadata, number of values, time, values, length
of the metadata, metadata in JSON, all numbers big-endian (xen-api: ocaml/xcp-rrdd/lib/transport/base/
rrd_protocol_v2.ml). The metadata have a key a data source, in the order of the values, and two VMs have data
sources of one name: rrdd reads both, as from its own rrdp-netdev, but a Python dict keeps one of them. So
this is not written with dom0's rrdd.py, which would give all values after that to the wrong VMs.
"""

import json
import struct
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from zlib import crc32

from ..machine.vf_counters import NOTHING
from .drivers import Counting
from .rates import Carried

MAGIC = b"DATASOURCES"
_HEAD = struct.Struct(">11sLLLd")
FIRST = 100  # the VF of request 1 is vif_101: a VM has fewer VIFs than that
LEAST = 0.0  # of a data source's values
# The value of a data source of which nothing is known. A missing one would be worse: rrdd repeats its last
# value, and then records 0 (ocaml/libs/xapi-rrd/lib/rrd.ml, ds_update; so with NaN). Below the least value it
# knows no better for five seconds, but minutes and longer have no value where most of them is so. xapi before
# 25.11 has lost the least value and records what it is told: hence one that looks like 0 there.
UNKNOWN = -1e-9

Request = Tuple[str, int]  # of a VM's UUID, its number


class Source(NamedTuple):
    """A data source of a VM."""

    vm_uuid: str
    name: str
    description: str
    units: str


def by_request(carried: Mapping[str, Carried]) -> Dict[Request, str]:
    """The VF of each request; a request that has two at once, as nothing should, is left out."""
    found: Dict[Request, List[str]] = {}
    for vf, one in carried.items():
        found.setdefault((one.holder.vm_uuid, one.holder.request), []).append(vf)
    return {request: vfs[0] for request, vfs in found.items() if len(vfs) == 1}


def sources(
    told: Mapping[Request, Tuple[Counting, Optional[Carried]]],
) -> Tuple[List[Source], List[float]]:
    """The data sources of these requests and their values. `told`: how the driver of a request's VF counts,
    and what the VF carried; None: that is not known."""
    found: List[Source] = []
    values: List[float] = []
    for vm_uuid, number in sorted(told):
        how, carried = told[vm_uuid, number]
        name, of = f"vif_{FIRST + number}", f"by the VF of request {number}"
        counted = carried.counters if carried else NOTHING
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
                found.append(Source(vm_uuid, called, description, units))
                values.append(value / carried.seconds if carried else UNKNOWN)
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
            "min": str(LEAST),
            "max": "infinity",
        }
        parts.append(f"{json.dumps(source.name)}:{json.dumps(said, separators=(',', ':'))}")
    return f'{{"datasources":{{{",".join(parts)}}}}}'.encode()


def payload(values: Sequence[float], described: bytes, now: float) -> bytes:
    """`now` in seconds since 1970."""
    checked = struct.pack(f">{1 + len(values)}d", now, *values)
    head = _HEAD.pack(MAGIC, crc32(checked), crc32(described), len(values), now)
    return head + checked[8:] + struct.pack(">L", len(described)) + described
