"""`inventory`: what the master asks each host for."""

from typing import Any, Mapping

from .. import digest
from ..machine.host import Host
from ..vf import host_inventory
from ..xapi.own_session import OwnSession
from .answers import JsonText, as_json


def inventory(host: Host, _session: OwnSession, args: Mapping[str, str]) -> Any:
    """The plugin's `inventory`, and its `digest`: that alone where it is `known` to whoever asks."""
    text = as_json(host_inventory.read(host).to_json())
    own = digest.of(text.encode())
    if args.get("known") == own:
        return {"digest": own}
    return JsonText(f'{text[:-1]}, "digest": "{own}"}}')
