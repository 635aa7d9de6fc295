"""A new file in the place of an old one, in one step: at every moment the name stands for a whole file.

Public: `replacement`.

The new file is written beside the old one, because only within one file system is a renaming a single step. It is
flushed to the disk before it is renamed, or a power cut could leave the name with none of the bytes; and the folder,
which holds the names, is flushed after. A process that is killed on the way leaves an unfinished file behind. The next
one to write into that folder removes it, and knows it from one that is still being written by the lock that every
writer holds: the system takes the locks from the dead.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from typing import IO

if sys.platform != "win32":
    import fcntl

UNFINISHED = ".minigrad-saving-"  # how the names of unfinished files begin


@contextlib.contextmanager
def replacement(path: str) -> Iterator[IO[bytes]]:
    """A file to write to, which takes the place of `path` if the block ends well, and is removed if it does not.

    As with ``open(path, "wb")``, a symbolic link stays one, an old file keeps its permissions, a read-only one is
    refused (PermissionError), and so is a folder (OSError).
    """
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    mode = None
    if os.path.exists(path):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise OSError("it is a folder or a device; wanted the name of a file")
        open(path, "r+b").close()  # for the PermissionError
    remove_strays(folder)
    file = unfinished(folder)
    try:
        with file:
            if mode is not None:
                os.chmod(file.name, stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
            if sys.platform == "win32":
                file.close()  # there an open file cannot be renamed; elsewhere a closed one would be taken for a stray
            os.replace(file.name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file.name)
        raise
    flush_names(folder)


def unfinished(folder: str) -> IO[bytes]:
    """A new file, locked while it is open."""
    while True:
        file = open(os.path.join(folder, UNFINISHED + secrets.token_hex(16)), "x+b")  # noqa: SIM115 (the caller closes it)
        with contextlib.suppress(OSError):  # a file system without locks; nothing is removed there
            lock(file, wait=True)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # somebody's remove_strays came before our lock


def remove_strays(folder: str) -> None:
    """Remove the unfinished files of the dead. On Windows they stay: an open file cannot be removed there."""
    for name in os.listdir(folder):
        if name.startswith(UNFINISHED):
            with contextlib.suppress(OSError), open(os.path.join(folder, name), "rb") as file:
                lock(file, wait=False)
                os.unlink(file.name)


def lock(file: IO[bytes], wait: bool) -> None:
    """Hold a file's lock until it is closed. Raises OSError where another holds it, unless told to wait."""
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def flush_names(folder: str) -> None:
    """Flush a folder to the disk, where the system can. It is too late for errors: the file is in its place."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
