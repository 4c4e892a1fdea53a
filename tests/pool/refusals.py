"""What a user is told of what was refused, or does not fit together, and what tests ask of that."""

from typing import Any, Callable, Dict, NamedTuple

import pytest
from sriovlib.errors import SriovError


class Refusal(NamedTuple):
    """What a call or a start that is refused tells."""

    code: str
    message: str
    hint: str

    def says(self, code: str, *words: str) -> "Refusal":
        assert self.code == code, self
        missing = [word for word in words if word not in f"{self.message}\n{self.hint}"]
        assert not missing, (missing, self)
        return self


def error_of(call: Callable[..., Any], *args: Any, **keywords: Any) -> Refusal:
    """What a call in this process is refused with."""
    with pytest.raises(SriovError) as caught:
        call(*args, **keywords)
    return Refusal(caught.value.code, caught.value.message, caught.value.hint)


def is_conflict(conflict: Dict[str, Any], code: str, *words: str, **expected: Any) -> Dict[str, Any]:
    Refusal(conflict["code"], conflict["message"], conflict["hint"]).says(code, *words)
    if "vms" in expected:
        assert sorted(conflict["vm_uuids"]) == sorted(expected["vms"])
    if "host" in expected:
        assert conflict["host_uuid"] == expected["host"].uuid
    assert conflict["address"] == expected.get("address", conflict["address"])
    return conflict
