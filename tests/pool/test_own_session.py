"""A session of our own: what a program in dom0 has that nobody gave one."""

import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest
from box import PoolInABox
from sriovlib.xapi.session import (
    Xapi,
    XapiFailure,
    logged_in,
)


@pytest.fixture(scope="module")
def box() -> Iterator[PoolInABox]:
    with PoolInABox() as made:
        yield made


def test_calls_in_a_session_that_ends(box: PoolInABox) -> None:
    host = box.hosts[1]
    before = set(box.xapi.database.refs("session"))
    with logged_in(host.machine) as session:
        xapi = Xapi(host.machine, session)
        assert xapi.call("host.get_by_uuid", host.uuid) == host.ref
        (own,) = set(box.xapi.database.refs("session")) - before
        assert xapi.call("session.get_this_host", own) == host.ref
        with pytest.raises(XapiFailure) as failure:
            xapi.call("VM.get_by_uuid", "nobody")
    assert failure.value.details[0] == "UUID_INVALID"
    assert set(box.xapi.database.refs("session")) == before


def test_the_heavy_clients_are_not_imported(box: PoolInABox) -> None:
    program = (
        "import sys\n"
        "from sriovlib.xapi.session import Xapi, logged_in\n"
        "from sriovlib.machine.host import Host\n"
        f"host = Host({box.hosts[0].machine.root!r})\n"
        "with logged_in(host) as session:\n"
        "    Xapi(host, session).call('pool.get_all')\n"
        "print({'XenAPI', 'http.client', 'xmlrpc', 'ssl'}.intersection(sys.modules))\n"
    )
    plugins = str(Path(__file__).resolve().parents[2] / "plugins")
    said = subprocess.check_output([sys.executable, "-c", program], cwd=plugins, universal_newlines=True)
    assert said == "set()\n"
