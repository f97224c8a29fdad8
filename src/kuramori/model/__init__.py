"""Pure data of the repository format: JSON in, JSON out, no I/O."""
