"""Which code it was: what was recorded or computed by other code is not taken for this one's."""

from functools import cache
import hashlib
from pathlib import Path


@cache
def source_hash(*packages: str) -> str:
    """SHA-256 of the Python source of packages of rlt_ros, hex."""
    root, hasher = Path(__file__).parent, hashlib.sha256()
    for path in sorted(path for name in packages for path in (root / name).rglob('*.py')):
        hasher.update(f'{path.relative_to(root)}\0'.encode() + path.read_bytes())
    return hasher.hexdigest()
