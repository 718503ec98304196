"""Answers for many images, written as they come: what :mod:`tools/label.py` does."""
