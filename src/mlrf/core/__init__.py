"""The lowest layer: errors, schema, forest, link, bundle. It imports no I/O library and no layer above it."""
