"""A PostgreSQL server of our own, for demos, tests and local work: no installation, no administrator.

    with EmbeddedServer() as server:
        connect(server.url())

Read server.py first; postmaster.py knows the process, programs.py the binaries and the account that runs them.
"""

from jobplane.embedded.server import EmbeddedServer, default_data_dir

__all__ = ["EmbeddedServer", "default_data_dir"]
