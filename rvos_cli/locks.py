"""A lock on a file that ends with the process that holds it, however that ends.

Not the package ``filelock``: where a file system has no locks, its versions refuse for ever or take it for somebody
else's; here the work goes on.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

if os.name == "nt":
    import msvcrt
else:
    import fcntl

HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}


class FileLock:
    """Held by one owner at a time, in this process or another; the file is made where there is none."""

    def __init__(self, path: Path) -> None:
        """Lock nothing yet."""
        self._path = path
        self._file: int | None = None

    def acquire(self) -> bool:
        """Return whether nobody else holds the lock; it is not waited for.

        A file that its last holder has removed meanwhile counts as held: somebody may have made another.

        Raises:
            OSError: the file cannot be opened.
        """
        file = os.open(self._path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(file)
        except OSError as error:
            if error.errno in HELD:
                os.close(file)
                return False
            # There are no locks here.
        if not _is_at(self._path, file):
            os.close(file)
            return False
        self._file = file
        return True

    def wait(self, seconds: float) -> bool:
        """Return whether nobody else holds the lock any more, after so many *seconds* at the latest.

        Raises:
            OSError: the file cannot be opened.
        """
        end = time.monotonic() + seconds
        while not self.acquire():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    @property
    def held(self) -> bool:
        """Whether it is held by this very object."""
        return self._file is not None

    def release(self) -> None:
        """Let others have it; the file stays."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)

    def __del__(self) -> None:
        """Release it with its owner."""
        self.release()


def _is_at(path: Path, file: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except OSError:  # it is gone; a network's file system may call it stale
        return False


def _lock(file: int) -> None:
    if os.name == "nt":
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
