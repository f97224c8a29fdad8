"""Where the files of a repository lie: the :class:`~kuramori.storage.backend.Backend` protocol,
one module per store, and wrappers of the same protocol."""
