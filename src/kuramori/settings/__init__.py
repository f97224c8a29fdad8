"""The settings file: what to protect, where to, and when."""
