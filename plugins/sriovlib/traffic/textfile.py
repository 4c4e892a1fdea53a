"""What VFs carry as the text that node_exporter's textfile collector reads. Pure.

The names are those of sriov-network-metrics-exporter (k8snetworkplumbingwg), with the `_total` that
Prometheus wants of counters. Those that node_exporter may have for VFs itself (node_net_vf_...) are not used:
it answers nothing at all where two of its collectors have one name with other descriptions. A counter is a
sum of ours and begins with 0 for each domain: what the driver's says, other VMs have carried too.
"""

from typing import Dict, Mapping

from ..exposition import Labels, braced, head, sample
from ..machine.vf_counters import NOTHING
from .counted_vfs import CountedVf
from .rates import Carried

_COUNTERS = (
    ("rx_bytes", "Bytes that the guest received by the VF"),
    ("tx_bytes", "Bytes that the guest sent by the VF"),
    ("rx_packets", "Packets that the guest received by the VF"),
    ("tx_packets", "Packets that the guest sent by the VF"),
    ("rx_dropped", "Received packets that the card dropped"),
    ("tx_dropped", "Sent packets that the card dropped"),
)


def text(told: Mapping[str, CountedVf], totals: Mapping[str, Carried]) -> str:
    """`told`: the VFs of which there is a reading; `totals`: see rates.added."""
    lines = head("sriov_vf_info", "gauge", "A VF of a running VM, and the VM's name")
    labels = {vf: _labels(vf, told[vf]) for vf in sorted(told)}
    for vf, own_labels in labels.items():
        lines.append(sample("sriov_vf_info", (*own_labels, ("vm", told[vf].vm_name or "")), 1))
    shown = {vf: braced(own_labels) for vf, own_labels in labels.items()}  # once for all counters
    for counter, described in _COUNTERS:
        own = [vf for vf in shown if _is_counted(counter, told[vf])]
        name = f"sriov_vf_{counter}_total"
        lines += head(name, "counter", described) if own else []
        for vf in own:
            total = totals.get(vf)
            is_own = total is not None and total.holder == told[vf].holder
            counted = total.counters if total is not None and is_own else NOTHING
            value: int = getattr(counted, counter)
            lines.append(f"{name}{shown[vf]} {value}")
    return "".join(line + "\n" for line in lines)


def _is_counted(counter: str, one: CountedVf) -> bool:
    drops: Dict[str, bool] = {
        "rx_dropped": one.counting.rx_dropped,
        "tx_dropped": one.counting.tx_dropped,
    }
    return drops.get(counter, True)


def _labels(vf: str, one: CountedVf) -> Labels:
    holder = one.holder
    return (
        ("pci_address", vf),
        ("pf", one.interface),
        ("vf", str(one.number)),
        ("vm_uuid", holder.vm_uuid),
        ("request", str(holder.request)),
    )
