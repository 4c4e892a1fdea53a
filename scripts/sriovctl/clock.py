"""The clocks of hosts, as xapi tells them."""

import re
import time
from typing import Any

from .pool import Host, Pool


def of_host(pool: Pool, host: Host) -> float:
    """The host's own, in whole seconds; it is asked itself (xen-api: ocaml/xapi/message_forwarding.ml)."""
    return seconds_of(pool.call("host.get_servertime", host.ref))


def seconds_of(time_of_xapi: Any) -> float:
    """xapi's 20261129T06:00:00Z, in UTC (xen-api: ocaml/libs/clock/date.ml)."""
    import calendar  # few commands need it

    digits = re.sub("[^0-9]", "", str(time_of_xapi))[:14]
    return float(calendar.timegm(time.strptime(digits, "%Y%m%d%H%M%S")))
