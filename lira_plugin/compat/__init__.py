"""Patches of third parties: each file says what it mends, in which version, and when it can go."""
