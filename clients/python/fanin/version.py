"""The version of this package."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("fanin-client")
except PackageNotFoundError:  # from a folder of sources
    VERSION = "0"
