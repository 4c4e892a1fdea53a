"""Commands of any Linux: modprobe, modinfo, ethtool, dmesg, uname."""

from typing import Sequence

import kernel_modules
from commands import Answer, not_imitated
from kernel_sysfs import Sysfs


def modprobe(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    looks_only = "--dry-run" in arguments
    arguments = [word for word in arguments if word != "--dry-run"]
    words = [word for word in arguments if word not in ("--remove", "-r")]
    if not words or words[0].startswith("-"):
        return not_imitated("modprobe", arguments)
    module, options = words[0], " ".join(words[1:])
    there = kernel_modules.available(sysfs, module) or kernel_modules.built_in(sysfs, module)
    if not there:
        folder = f"/lib/modules/{sysfs.description.kernel}"
        return _fatal(f"Module {module} not found in directory {folder}")
    if looks_only:
        return Answer()
    if len(words) == len(arguments):
        kernel_modules.load(sysfs, module, options)
        return Answer()
    if kernel_modules.built_in(sysfs, module):
        return _fatal(f"Module {module.replace('-', '_')} is builtin.")
    if kernel_modules.in_use(sysfs, module):
        return _fatal(f"Module {module.replace('-', '_')} is in use.")
    kernel_modules.unload(sysfs, module)
    return Answer()


def _fatal(text: str) -> Answer:
    return Answer(1, "", f"modprobe: FATAL: {text}\n")


def dmesg(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    if arguments:
        return not_imitated("dmesg", arguments)
    lines = enumerate(sysfs.state["kernel_log"])
    return Answer(
        0, "".join(f"[{number:5d}.{number * 7919 % 1000000:06d}] {line}\n" for number, line in lines)
    )


def uname(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    if list(arguments) != ["-r"]:
        return not_imitated("uname", arguments)
    return Answer(0, sysfs.description.kernel + "\n")


def modinfo(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """`--field alias DRIVER`: which devices it knows; `--field parmtype DRIVER`: what its parameters take."""
    driver = arguments[-1]
    cards = [card for card in sysfs.description.cards if card.driver == driver]
    if not cards:
        return Answer(1, "", f"modinfo: ERROR: Module {driver} not found.\n")
    if list(arguments[:-1]) == ["--field", "alias"]:
        identities = sorted({tuple(int(part, 16) for part in card.device.split(":")) for card in cards})
        return Answer(0, "".join("pci:v{:08X}d{:08X}sv*sd*bc*sc*i*\n".format(*both) for both in identities))
    if list(arguments[:-1]) != ["--field", "parmtype"]:
        return not_imitated("modinfo", arguments)
    own = [card.sriov for card in cards if card.sriov and card.sriov.parameter]
    kinds = {sriov.parameter: "uint" if sriov.for_all else "array of int" for sriov in own}
    return Answer(0, "debug:int\n" + "".join(f"{name}:{kind}\n" for name, kind in kinds.items()))


def ethtool(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """`ethtool -P INTERFACE`: the MAC that the card was described with, whatever was set since."""
    option, title = arguments
    if option != "-P":
        return not_imitated("ethtool", arguments)
    for card in sysfs.description.cards:
        if title in card.interfaces:
            return Answer(0, f"Permanent address: {card.macs[card.interfaces.index(title)]}\n")
    return Answer(1, "", "Cannot get device permanent address: No such device\n")
