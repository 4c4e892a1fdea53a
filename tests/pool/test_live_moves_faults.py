"""A move meets faults of the hosts: a toolstack that restarts, a full disk, a call that is cut off."""

import pytest
from live_moves import VF, driven, is_whole, running_with_vf
from managed_pool import Pool, other_slot

pytestmark = [pytest.mark.story, pytest.mark.pool(describe=other_slot)]


@pytest.fixture
def web(pool: Pool) -> str:
    return running_with_vf(pool)


def test_guest_without_its_vf_reboots_while_the_toolstack_restarts(pool: Pool, web: str) -> None:
    """xenopsd has no device of it, and was told that its domain takes devices all the same."""
    pool.call("detach_vfs", vm=web)
    with pool.box.silent_xapi(pool.one), pool.impatient(pool.one):
        pool.guest_reboots(web)
    assert (pool.power_state(web), driven(web, pool.one)) == ("Running", [])
    assert pool.call("attach_vfs", vm=web)["vfs"] == [{"request": 1, "vf": VF}]
    is_whole(pool, web, pool.one, VF)
