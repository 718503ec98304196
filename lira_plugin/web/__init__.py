"""What the servers of this package share: ASGI's types, and guards against requests that are not to be answered."""
