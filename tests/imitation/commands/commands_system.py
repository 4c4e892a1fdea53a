"""Commands of any Linux: modprobe, lspci, dmesg, uname, systemctl."""

import os
import re
from typing import Dict, Sequence

import kernel_modules
from commands import Answer, not_imitated
from kernel_sysfs import Sysfs
from machine_devices import BUS

UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system")


def modprobe(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    words = [word for word in arguments if word not in ("--remove", "-r")]
    if not words or words[0].startswith("-"):
        return not_imitated("modprobe", arguments)
    module, options = words[0], " ".join(words[1:])
    there = kernel_modules.available(sysfs, module) or kernel_modules.built_in(sysfs, module)
    if not there:
        folder = f"/lib/modules/{sysfs.description.kernel}"
        return _fatal(f"Module {module} not found in directory {folder}")
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


# -- lspci ---------------------------------------------------------------------------------------


def lspci(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """`lspci -D`, with -nn the numbers too: address, class, vendor, device, revision."""
    options = set(arguments)
    if not options <= {"-D", "-nn", "-Dnn"} or not options & {"-D", "-Dnn"}:
        return not_imitated("lspci", arguments)
    numbers = bool(options & {"-nn", "-Dnn"})
    names = _names(sysfs)
    lines = []
    for address in sysfs.names(f"{BUS}/devices"):
        folder = sysfs.device(address) or ""
        vendor, device, pci_class, revision = (
            sysfs.text(f"{folder}/{part}").strip()[2:] for part in ("vendor", "device", "class", "revision")
        )
        kind = names.get("C " + pci_class[:4], "Class")
        maker, model = names.get(vendor, "Device"), names.get(f"{vendor} {device}", f"Device {device}")
        line = f"{address} {kind} [{pci_class[:4]}]: " if numbers else f"{address} {kind}: "
        line += f"{maker} {model}" + (f" [{vendor}:{device}]" if numbers else "")
        lines.append(line + (f" (rev {revision})" if revision != "00" else "") + "\n")
    return Answer(0, "".join(lines))


def _names(sysfs: Sysfs) -> Dict[str, str]:
    """pci.ids: vendors by number, devices by vendor and number, classes by `C` and their digits."""
    found: Dict[str, str] = {}
    top, middle = "", ""
    for line in sysfs.text("/usr/share/hwdata/pci.ids").splitlines():
        match = re.fullmatch(r"(\t*)((?:C )?[0-9a-f]+)  (.*)", line)
        if match and not match.group(1):
            top = match.group(2)
            found[top] = match.group(3)
        elif match:
            part = match.group(2)
            middle = part if len(match.group(1)) == 1 else middle + part
            found[f"{top}{'' if top.startswith('C ') else ' '}{middle}"] = match.group(3)
    return found


# -- systemctl -----------------------------------------------------------------------------------


def systemctl(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """enable, disable and is-enabled of one unit: its links in the targets that want it."""
    action, unit = (list(arguments) + ["", ""])[:2]
    if action not in ("enable", "disable", "is-enabled") or len(arguments) != 2:
        return not_imitated("systemctl", arguments)
    files = [f"{folder}/{unit}" for folder in UNITS if sysfs.exists(f"{folder}/{unit}")]
    if not files:
        return Answer(1, "", f"Failed to get unit file state for {unit}: No such file or directory\n")
    wanted = re.findall(r"^WantedBy=(.*)$", sysfs.text(files[0]), re.MULTILINE)
    links = [f"{UNITS[0]}/{target}.wants/{unit}" for line in wanted for target in line.split()]
    if action == "is-enabled":
        enabled = bool(links) and all(sysfs.exists(link) for link in links)
        return Answer(0 if enabled else 1, "enabled\n" if enabled else "disabled\n")
    said = ""
    for link in links:
        sysfs.remove(link)
        if action == "enable":
            os.makedirs(sysfs.root + os.path.dirname(link), exist_ok=True)
            os.symlink(files[0], sysfs.root + link)
        said += f"{'Created' if action == 'enable' else 'Removed'} symlink {link}.\n"
    return Answer(0, "", said)
