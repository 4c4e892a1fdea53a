"""Machines made by copying: a host like another, VFs and all, that differs in its name and addresses; and
fresh ones, each of which is made once in a run of the tests.

Making takes longer than copying, 126 VFs for one: sysfs is copied by hard links, and whoever changes a file
of it takes it apart first (`machine_tree.unshared`).
"""

import json
import os
import shutil
import uuid
from contextlib import contextmanager
from typing import Dict, Iterator, List

import kernel_net
import machine_build
from kernel_sysfs import Sysfs, resolved
from machine import OWN_FOLDER, Machine
from machine_description import Description
from machine_devices import NET
from machine_tree import plant

_OF_ONE_HOST = ("description.json", "xensource-inventory")
_SHARED = "sys"


def copy(folder: str, original: Machine, description: Description) -> Machine:
    """The machine in `folder`, which must not exist. The hardware described must be the original's."""
    os.makedirs(folder)
    duplicate(original.root, folder)
    made = Machine(folder)
    for path, text in machine_build.disk(description).items():
        if path.endswith(_OF_ONE_HOST):
            plant(folder, {path: text})
    with made.changed() as sysfs:
        _give_addresses(sysfs)
    return made


def duplicate(original: str, folder: str) -> None:
    """Fills an empty folder with what a machine's root has. Not with sockets: xapi's is no part of it."""
    for name in os.listdir(original):
        _fill(f"{original}/{name}", f"{folder}/{name}", shared=name == _SHARED)


def _fill(original: str, folder: str, shared: bool) -> None:
    os.mkdir(folder)
    with os.scandir(original) as entries:
        for entry in entries:
            path = f"{folder}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), path)
            elif entry.is_dir():
                _fill(entry.path, path, shared)
            elif entry.is_file() and shared:
                os.link(entry.path, path)
            elif entry.is_file():
                shutil.copy(entry.path, path)


def _give_addresses(sysfs: Sysfs) -> None:
    for card in sysfs.description.cards:
        for title, mac in zip(card.interfaces, card.macs):
            sysfs.put(resolved(sysfs.root, f"{NET}/{title}") + "/address", mac + "\n")
    for described in sysfs.description.interfaces:
        folder = resolved(sysfs.root, f"{NET}/{described.name}")
        if sysfs.exists(folder):
            sysfs.put(folder + "/address", kernel_net.mac_of(sysfs, described) + "\n")


# -- fresh machines ------------------------------------------------------------------------------

_places: List[str] = []  # where originals are kept; nowhere: each machine is made
_originals: Dict[str, str] = {}  # the root of the machine of a description, which nobody boots or changes


@contextmanager
def kept_in(folder: str) -> Iterator[None]:
    """Meanwhile a machine of a description that was made once is a copy. At the end: AssertionError where
    somebody wrote into a file that copies share."""
    _places.append(folder)
    try:
        yield
        changed = [path for original in _originals.values() for path in _changed(original)]
        assert not changed, f"{changed}: use machine_tree.unshared"
    finally:
        _places.pop()
        _originals.clear()


def fresh(folder: str, description: Description) -> bool:
    """Fills an empty folder as after the machine's first boot; False, and nothing: no originals are kept."""
    if not _places or (os.path.exists(folder) and os.listdir(folder)):
        return False
    key = json.dumps(description)
    if key not in _originals:
        original = Machine(f"{_places[-1]}/{uuid.uuid4().hex}")
        machine_build.install(original, description)
        original.reboot()
        _originals[key] = original.root
    os.makedirs(folder, exist_ok=True)
    duplicate(_originals[key], folder)
    return True


def _changed(original: str) -> Iterator[str]:
    """The shared files that are newer than the last that a boot writes."""
    booted = os.stat(f"{original}{OWN_FOLDER}/state.json").st_mtime_ns
    for folder, _, names in os.walk(f"{original}/{_SHARED}"):
        for path in (f"{folder}/{name}" for name in names):
            if os.lstat(path).st_mtime_ns > booted:
                yield path
