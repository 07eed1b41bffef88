"""The lowest layer: errors, schema, forest, link, bundle. Imports no I/O library and no layer above it."""
