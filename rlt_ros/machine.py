"""What a number was measured on."""

import os
from pathlib import Path
import platform


def machine() -> dict[str, object]:
    """Processor, the cores of it that this process may use, Python, and system with its kernel."""
    return {
        'cpu': _cpu(), 'cores': len(os.sched_getaffinity(0)), 'python': platform.python_version(),
        'system': platform.platform(),
    }  # fmt: skip


def _cpu() -> str:
    """Model of the processor, or its kind where the system does not tell one."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return models[0] if models else platform.processor() or platform.machine()
