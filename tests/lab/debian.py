"""How the lab gets Debian packages: by mmdebstrap, from the archive that this machine's apt uses."""

import subprocess
from typing import List, Sequence

from lab.errors import LabError

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def archive() -> str:
    """Where apt gets the main suite of this machine from."""
    targets = subprocess.check_output(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"],
        universal_newlines=True,
    )
    for line in targets.splitlines():
        uri, _, codename = line.partition(" ")
        if "-" not in codename:  # not bookworm-updates, bookworm-security ...
            return uri
    raise LabError("apt on this machine names no Debian archive to get packages from")


def mmdebstrap(suite: str, folder: str, packages: Sequence[str], variant: str, *more: str) -> List[str]:
    """The command that makes `folder` a tree of that suite and packages, less what only people read."""
    slim = [f"--dpkgopt=path-exclude=/usr/share/{unread}/*" for unread in ("doc", "man", "locale")]
    return [
        "mmdebstrap",
        "--quiet",
        f"--variant={variant}",
        f"--keyring={KEYRING}",
        "--format=directory",
        '--aptopt=APT::Install-Recommends "false"',
        '--aptopt=Acquire::Languages "none"',
        *slim,
        *more,
        "--include=" + ",".join(packages),
        suite,
        folder,
        f"deb {archive()} {suite} main",
    ]
