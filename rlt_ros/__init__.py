"""The open real-time robot stack for RL Token (RLT)."""

from pkgutil import extend_path

# Running from a source checkout: take the generated rlt_ros.msg from the installed package.
__path__ = extend_path(__path__, __name__)
__version__ = '0.1.0'
