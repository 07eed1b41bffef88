"""Stores of models on other machines: what an address names is fetched to a local cache by digest, checked, and watched."""
