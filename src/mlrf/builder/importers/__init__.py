"""Importers: one package for each library or format; a model file or object in, an `ImportedModel` out."""
