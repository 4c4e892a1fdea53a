"""Profiles of settings, and which drivers can."""

from typing import Optional

import pytest
from sriovlib.config import vf_settings
from sriovlib.config.vf_settings import UNKNOWN, UNSET, VfSettings
from sriovlib.vf import profiles


def test_settings_of_profiles_are_settings() -> None:
    for settings in profiles.SETTINGS.values():
        assert all(vf_settings.is_understood(name, text) for name, text in settings.items())


@pytest.mark.parametrize(
    ("driver", "certain"),
    [
        ("igb", None),
        ("mlx5_core", None),
        ("mlx4_core", True),
        ("be2net", True),
        ("new_driver", False),
        (None, False),
    ],
)
def test_a_driver_that_cannot_trust_a_vf(driver: Optional[str], certain: Optional[bool]) -> None:
    doubt = profiles.doubt("router", driver, UNSET)
    assert (doubt and doubt.certain) == certain


@pytest.mark.parametrize(
    ("driver", "told", "certain"),
    [
        ("igb", UNSET._replace(trust=None), True),
        ("igb", UNKNOWN, None),  # nobody asked it
        ("mlx5_core", UNSET._replace(trust=None), None),
    ],
)
def test_an_old_driver_that_does_not_know_trust(
    driver: str, told: VfSettings, certain: Optional[bool]
) -> None:
    doubt = profiles.doubt("router", driver, told)
    assert (doubt and doubt.certain) == certain
