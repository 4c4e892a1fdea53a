"""xenopsd's metadata by way of xapi: what is sent, and what its answers mean."""

import json
import xmlrpc.client
from pathlib import Path
from typing import Any

import pytest
from answering_socket import Answering, with_body
from sriovlib.machine.host import Host
from sriovlib.xapi import session, xenops_service
from sriovlib.xapi.session import XapiFailure, XapiSilent

WEB = "11111111-2222-4333-8444-555555555555"
METADATA = {"vm": {"id": WEB, "ty": ["HVM", {"pci_passthrough": False}]}, "pcis": [], "domains": "{}"}


class Xapi(Answering):
    def answers(self, **response: Any) -> None:
        """As rpclib's xmlrpc.ml writes it: strings without a tag of their own."""
        members = "".join(f"<member><name>{k}</name>{_value(v)}</member>" for k, v in response.items())
        struct = f"<value><struct>{members}</struct></value>"
        self.answer = with_body(
            f'<?xml version="1.0"?><methodResponse><params><param>{struct}</param></params></methodResponse>'
        )


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"<value><array><data>{''.join(map(_value, value))}</data></array></value>"
    return f"<value>{value.replace('&', '&amp;').replace('<', '&lt;')}</value>"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(str(tmp_path))


@pytest.fixture
def xapi(host: Host) -> Xapi:
    return Xapi(host.path(session.SOCKET))


def test_metadata_is_read_and_given_back_without_the_state_of_the_domain(host: Host, xapi: Xapi) -> None:
    xapi.answers(Status="Success", Value=json.dumps(METADATA))
    assert xenops_service.export_metadata(host, "OpaqueRef:1", WEB) == METADATA
    head, body = xapi.sent
    assert head.startswith(b"POST /services/xenops?session_id=OpaqueRef:1 HTTP/1.1\r\n")
    assert xmlrpc.client.loads(body) == (({"debug_info": "xapi-sriov", "id": WEB},), "VM.export_metadata")
    xapi.answers(Status="Success", Value=WEB)
    xenops_service.import_metadata(host, "OpaqueRef:1", METADATA)
    ((sent,), method) = xmlrpc.client.loads(xapi.sent[3])
    assert method == "VM.import_metadata"
    told = json.loads(dict(sent)["metadata"])  # type: ignore[arg-type] # XML-RPC has any value
    assert told == {"vm": METADATA["vm"], "pcis": []}


def test_what_xenopsd_refuses(host: Host, xapi: Xapi) -> None:
    for said, details in (
        (["Does_not_exist", ["VM", WEB]], ["Does_not_exist", f"['VM', '{WEB}']"]),
        ("Device_is_connected", ["Device_is_connected"]),
    ):
        xapi.answers(Status="Failure", ErrorDescription=said)
        with pytest.raises(XapiFailure) as failed:
            xenops_service.export_metadata(host, "OpaqueRef:1", WEB)
        assert failed.value.details == details


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "<html><body>404</body></html>",
        "<methodResponse><params><param><value>a</value></param></params></methodResponse>",
        "<methodResponse>",
    ],
)
def test_answers_that_are_none(host: Host, xapi: Xapi, answer: str) -> None:
    xapi.answer = with_body(answer)
    with pytest.raises(XapiSilent):
        xenops_service.export_metadata(host, "OpaqueRef:1", WEB)


@pytest.mark.parametrize("value", ["", "[]", "{}", '{"vm": {"id": "another"}, "pcis": []}', '{"vm": 1}'])
def test_metadata_that_is_none(host: Host, xapi: Xapi, value: str) -> None:
    xapi.answers(Status="Success", Value=value)
    with pytest.raises(XapiSilent):
        xenops_service.export_metadata(host, "OpaqueRef:1", WEB)
