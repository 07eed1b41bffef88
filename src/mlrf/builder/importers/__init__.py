"""Importers: one package for each library or format, from a model file or object to an `ImportedModel`."""
