"""Where the package's own files are: installed by colcon or pip, or in the source checkout."""

import os
from pathlib import Path
import sys


def share() -> Path:
    """Folder that holds config/, launch/ and weights/. The source checkout wins over an installed copy."""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / 'msg').is_dir() and (checkout / 'config').is_dir():
        return checkout
    for prefix in [*os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep), sys.prefix]:
        if prefix and (found := Path(prefix, 'share', 'rlt_ros')).is_dir():
            return found
    raise FileNotFoundError('share/rlt_ros is in none of AMENT_PREFIX_PATH and sys.prefix: is rlt_ros installed?')
