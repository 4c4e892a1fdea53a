"""A machine's Xen, as the library calls it: the same code as on a real host, but for libxenctrl itself."""

from machine import Machine
from sriovlib.machine.xen_control import XenControl


class Control(XenControl):
    def __init__(self, machine: Machine) -> None:
        self._host = self._machine = machine

    def close(self) -> None:
        """Nothing is open."""

    def _call(self, function: str, *numbers: int) -> None:
        import kernel_xen

        with self._machine.changed() as sysfs:
            kernel_xen.call(sysfs, function, numbers)
