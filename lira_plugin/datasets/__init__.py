"""Data sets, one file a format, and the transforms that turn records into samples."""
