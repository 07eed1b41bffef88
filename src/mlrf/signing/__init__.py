"""Detached signatures of bundles: OpenSSF Model Signing statements, made and checked with key pairs, offline."""
