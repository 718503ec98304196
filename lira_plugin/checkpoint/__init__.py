"""Checkpoints: find, read, check and write them."""
