"""What set_vf_count and configure_vf have in common: whether a PF may be changed, and its sections of
/etc/sriov.conf, which are written first and put back where the change fails."""

from typing import Callable, Dict, List, NamedTuple, Tuple

from ..config import ini, pf_sections, sriov_conf
from ..config.sriov_conf import HostConfig
from ..errors import SriovError
from ..machine.host import Host
from ..machine.pci import PhysicalFunction
from ..pool import needed_by_xapi
from ..pool.state import Pool
from ..starts import release
from ..vf import host_inventory, in_use
from ..vf.inventory import Inventory
from ..vf.inventory_json import VfState
from ..xapi.own_session import OwnSession
from . import list_vfs

# Is given the file, the same with a section for the PF, and that section's address.
Edit = Callable[[HostConfig, ini.Document, str], ini.Document]


class PfChange(NamedTuple):
    """A PF that neither dom0 nor xapi needs, under the lock `vfs`."""

    host: Host
    session: OwnSession
    pf: PhysicalFunction
    seen: Inventory  # without the starts that have ended
    ended: Dict[str, float]  # those starts, see release.ended
    pool: Pool
    macs: pf_sections.Macs

    def vfs(self) -> List[VfState]:
        """The PF's, with the states and VMs that `list_vfs` shows."""
        own = [vf for vf in host_inventory.vf_states(self.seen) if vf.function.pf == self.pf.address]
        return list_vfs.joined(self.seen, own, self.pool)

    def planned(self, edit: Edit) -> Tuple[HostConfig, HostConfig]:
        """The file as it is, and as `write` would make it."""
        before = sriov_conf.read(self.host)
        return before, sriov_conf.edited(before, self._claimed(edit))

    def write(self, edit: Edit) -> "Written":
        return Written(self.host, *sriov_conf.edit(self.host, self._claimed(edit)))

    def _claimed(self, edit: Edit) -> Callable[[HostConfig], ini.Document]:
        def claimed(config: HostConfig) -> ini.Document:
            document = pf_sections.claim(config, self.pf, self.seen.pfs, self.macs)
            heading = pf_sections.heading(document, self.pf, self.seen.pfs, self.macs)
            return edit(config, document, heading)

        return claimed


class Written(NamedTuple):
    host: Host
    before: HostConfig
    after: HostConfig

    def put_back(self) -> str:
        """Puts the sections that were changed back, and no others; in a sentence, where that fails."""
        names = pf_sections.differing(self.before, self.after)
        try:
            sriov_conf.edit(
                self.host, lambda config: ini.put_back(config.document, self.before.document, names)
            )
            return ""
        except SriovError as error:
            return f" {error.message} The file still asks for what was refused."


def begin(host: Host, session: OwnSession, seen: Inventory, pf: PhysicalFunction) -> PfChange:
    """Refuses a PF that dom0 or xapi needs."""
    in_use.pf_is_not_needed(pf, seen)
    pool = needed_by_xapi.known(seen.owners, list_vfs.read_pool(host, session, seen))
    needed_by_xapi.is_not_needed(pf, seen, pool)
    ended = release.ended(host, seen.owners or {}, pool.state.busy_on(pool.here.member.uuid))
    macs = pf_sections.permanent_macs(host, seen.pfs)
    return PfChange(host, session, pf, seen.without_starts_of(ended), ended, pool, macs)
