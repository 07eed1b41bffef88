"""The native API: request parsing, handlers and responses of `/predict`, `/explain` and `/models`."""
