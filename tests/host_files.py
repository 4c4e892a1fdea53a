"""The few files of a host that a test of one module needs."""

import os
import shutil


class HostFiles:
    """They are below a folder; paths are those of the host. The fixture `fs` has each `Host()` read these."""

    def __init__(self, root: str) -> None:
        self.root = root

    def create_file(self, path: str, contents: str = "") -> None:
        """A new one; folders above it come with it."""
        self.create_dir(os.path.dirname(path))
        with open(self.root + path, "xb") as file:
            file.write(contents.encode())

    def set_contents(self, path: str, contents: str) -> None:
        self.remove(path)
        self.create_file(path, contents)

    def create_dir(self, path: str) -> None:
        os.makedirs(self.root + path, exist_ok=True)

    def create_symlink(self, path: str, target: str) -> None:
        """A link to an absolute path is written as a relative one, which does not lead out of the folder."""
        folder = os.path.dirname(path)
        self.create_dir(folder)
        if target.startswith("/"):
            target = os.path.relpath(
                os.path.realpath(self.root) + target, os.path.realpath(self.root + folder)
            )
        os.symlink(target, self.root + path)

    def exists(self, path: str) -> bool:
        return os.path.exists(self.root + path)

    def remove(self, path: str) -> None:
        """A file, a link, or a whole folder."""
        real = self.root + path
        if os.path.isdir(real) and not os.path.islink(real):
            shutil.rmtree(real)
        else:
            os.unlink(real)

    def rename(self, path: str, new_path: str) -> None:
        os.rename(self.root + path, self.root + new_path)
