"""Files for deploying a server: container image, manifests, service units, alert rules. `templates` fills in a user's names."""
