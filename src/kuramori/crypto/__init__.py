"""Sealing, opening, and the derivation of keys from passwords."""
