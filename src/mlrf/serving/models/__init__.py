"""The models that a worker serves: one loaded version, the generation in service, and requests to load or unload."""
