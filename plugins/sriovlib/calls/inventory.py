"""`inventory`: what the master asks each host for."""

from _blake2 import blake2b  # hashlib loads OpenSSL's too
from typing import Any, Mapping

from ..machine.host import Host
from ..vf import host_inventory
from .answers import JsonText, as_json


def inventory(host: Host, _session: Any, args: Mapping[str, str]) -> Any:
    """The plugin's `inventory`, and its `digest`: that alone where it is `known` to whoever asks."""
    text = as_json(host_inventory.read(host).to_json())
    digest = blake2b(text.encode(), digest_size=16).hexdigest()
    if args.get("known") == digest:
        return {"digest": digest}
    return JsonText(f'{text[:-1]}, "digest": "{digest}"}}')
