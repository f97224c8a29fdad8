"""The repository: opening, keys, locks, packs, index and snapshots over a backend."""
