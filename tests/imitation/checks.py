"""What tests of the imitation ask again and again."""

import time
from typing import Any, Callable, List

import hurry
import pytest
import XenAPI
from values import Failure


def refused(call: Any, *params: Any) -> List[str]:
    """Code and details of the failure that a call of the API ends with, inside or over the wire."""
    with pytest.raises((Failure, XenAPI.Failure)) as caught:
        call(*params)
    failure: Any = caught.value
    description: List[str] = failure.description if isinstance(failure, Failure) else failure.details
    return description


def until(happened: Callable[[], bool]) -> None:
    """A minute, also in a hurry."""
    end = hurry.real() + 60
    while not happened():
        assert hurry.real() < end
        time.sleep(0.01)
