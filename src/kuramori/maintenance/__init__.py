"""Keeping a repository sound: check it."""
