"""From a snapshot to the disk."""
