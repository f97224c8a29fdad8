"""What this machine remembers of each repository: snapshots that it has seen, packs that it has read."""
