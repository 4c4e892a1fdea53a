"""dracut, which makes an initrd, and lsinitrd, which looks into one."""

from typing import Sequence

import kernel_modprobe
from commands import Answer, not_imitated
from kernel_sysfs import Sysfs


def dracut(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """`dracut -f IMAGE RELEASE`."""
    option, image, release = arguments
    if option != "-f" or release != sysfs.description.kernel:
        return not_imitated("dracut", arguments)
    sysfs.put(image, kernel_modprobe.image_text(sysfs.description, kernel_modprobe.files(sysfs)))
    return Answer()


def lsinitrd(sysfs: Sysfs, arguments: Sequence[str], _input: str) -> Answer:
    """`lsinitrd IMAGE`, and `lsinitrd -f FILE IMAGE`: the text of a file, nothing where there is none."""
    image = arguments[-1]
    if not sysfs.exists(image):
        return Answer(1, "", f"{image} does not exist\n")
    kept = kernel_modprobe.in_image(sysfs)
    if list(arguments[:-1]) == []:
        lines = [
            f"-rw-r--r--   1 root     root     {len(kept[path]):8} Jan  1  1970 {path[1:]}" for path in kept
        ]
        rule = "=" * 72
        return Answer(0, "\n".join([f"Image: {image}: 18M", rule, *lines, rule, ""]))
    if len(arguments) == 3 and arguments[0] == "-f":
        return Answer(0, kept.get("/" + arguments[1].lstrip("/"), ""))
    return not_imitated("lsinitrd", arguments)
