"""Which code it was: what was recorded or computed by other code is not taken for this one's."""

from functools import cache
import hashlib
from pathlib import Path


@cache
def source_hash(*parts: str) -> str:
    """SHA-256 of the Python source of packages and modules (x.py) of rlt_ros, hex; FileNotFoundError without one."""
    root, hasher = Path(__file__).parent, hashlib.sha256()
    modules = {name: [root / name] if name.endswith('.py') else [*(root / name).rglob('*.py')] for name in parts}
    if missing := [name for name, found in modules.items() if not found]:
        raise FileNotFoundError(f'rlt_ros has no {missing[0]}')
    for path in sorted(path for found in modules.values() for path in found):
        hasher.update(f'{path.relative_to(root)}\0'.encode() + path.read_bytes())
    return hasher.hexdigest()
