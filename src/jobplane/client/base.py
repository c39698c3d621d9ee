"""What the clients of both colours are made of: where their database is, and the options of their jobs."""

from __future__ import annotations

import os

from jobplane.client.option_defaults import OptionDefaults
from jobplane.options import JobQueueOptions
from jobplane.settings import DatabaseSettings, resolve
from jobplane.task import Registry


class Client:
    """A client before its first connection. The arguments are those of JobQueue."""

    def __init__(
        self,
        url: str | None,
        options: JobQueueOptions | None,
        settings: DatabaseSettings | None,
        tenant: str | None,
        registry: Registry,
    ) -> None:
        self._url = url
        self._settings = settings
        self._defaults = OptionDefaults(options, tenant, registry)
        self.tenant = self._defaults.tenant
        """Whose jobs this client writes; None where nobody said."""

    @property
    def settings(self) -> DatabaseSettings:
        """Where the database is: explicit, else from the environment at first use."""
        if self._settings is None:
            explicit = {} if self._url is None else {"url": self._url}
            self._settings = resolve(DatabaseSettings, os.environ, **explicit).settings
        return self._settings

    @property
    def options(self) -> JobQueueOptions:
        """The defaults of all jobs of this client, its tenant among them."""
        return self._defaults.options

    @property
    def _told(self) -> str | None:
        # The tenant that the server is told of.
        return self.tenant if self.settings.row_security else None
