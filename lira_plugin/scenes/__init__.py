"""Generated scenes in the published formats, for the quickstart, tools, benchmarks and tests."""
