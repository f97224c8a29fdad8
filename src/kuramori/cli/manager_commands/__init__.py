"""What ``init``, ``backup``, ``list`` and ``restore`` do where the settings file counts."""
