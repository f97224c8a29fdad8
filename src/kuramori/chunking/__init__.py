"""Where to cut."""
