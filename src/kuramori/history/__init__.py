"""Every run, in an SQLite file."""
