"""What the plugin's sentences call by its own names, in words of sriovctl. Pure.

The sentences are shown as the plugin gave them, since who reads its documents looks for them."""

import re
from typing import Dict, Iterable

_WORDS: Dict[str, str] = {
    "enable_iommu": "sriovctl setup",
    "load_pciback": "sriovctl setup",
    "set_vf_count": "sriovctl count HOST/PORT N",
    "configure_vf": "sriovctl configure HOST/PORT:N",
    "list_pfs": "sriovctl pfs",
    "list_vfs": "sriovctl vfs",
    "list_assignments": "sriovctl conflicts",
    "guest_info": "sriovctl guest VM",
    "assign_vf": "sriovctl assign VM",
    "unassign_vf": "sriovctl unassign VM",
    "reinstate_vfs": "sriovctl reinstate VM",
    "adopt_vm": "sriovctl adopt VM",
    "park_vm": "sriovctl park VM",
    "migrate_vm": "sriovctl migrate VM HOST",
    "detach_vfs": "sriovctl detach VM",
    "attach_vfs": "sriovctl attach VM",
    "host_uuid": "--on HOST",
    "origin_uuid": "--origin VM",
    "trust_keys=true": "--trust-keys",
    "network_gap=allowed": "--network-gap",
    "unconfirmed=true": "--unconfirmed",
    "force=true": "--force",
    "dry_run=true": "--dry-run",
}
_NAME = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b")


def legend(texts: Iterable[str]) -> str:
    """A sentence with those that are in the texts, in their order; empty where there are none."""
    named = dict.fromkeys(name for text in texts for name in _NAME.findall(text))
    said = ", ".join(f"{name} is `{_WORDS[name]}`" for name in named)
    return f"In sriovctl: {said}." if said else ""
