"""Where the package's own files are: installed by colcon or pip, or in the source checkout.

And whether what a command is to write can be written, and nobody else writes there.
"""

import fcntl
import os
from pathlib import Path
import sys
import tempfile
from typing import IO

from rlt_ros.errors import UserError

LOCK = '.lock'  # in a folder that one process holds


def share() -> Path:
    """Folder that holds config/, launch/ and weights/. The source checkout wins over an installed copy."""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / 'msg').is_dir() and (checkout / 'config').is_dir():
        return checkout
    for prefix in [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]:
        if prefix and (found := Path(prefix, 'share', 'rlt_ros')).is_dir():
            return found
    raise FileNotFoundError('share/rlt_ros is in none of AMENT_PREFIX_PATH and sys.prefix: is rlt_ros installed?')


def check_writable(path: Path) -> None:
    """Make the folder of a file that is to be written after long work; raises UserError where it could not be written.

    Nothing is left at `path` itself, and a file that is there stays as it is.
    """
    try:
        if path.exists():
            path.open('ab').close()
            return
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f'{path} cannot be written: {error.strerror}') from None


def lock(folder: Path, refusal: str) -> IO[str]:
    """An open file that holds a folder for this process, until it is closed or the process ends.

    Raises UserError with `refusal` where another one holds it, OSError where the folder cannot be written.
    """
    file = (folder / LOCK).open('w')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise UserError(refusal) from None
    return file
