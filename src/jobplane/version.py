"""The version, as the package's metadata has it."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("jobplane")
except PackageNotFoundError:  # running from a source tree that was not installed
    __version__ = "0.0.0"
