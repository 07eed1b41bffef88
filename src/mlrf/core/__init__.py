"""What every other layer stands on: errors, schema, forest, link, bundle. Knows no I/O library and no layer above it."""
