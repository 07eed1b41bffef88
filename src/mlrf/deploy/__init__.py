"""Files that put a server into operation: image, manifests, service units, alert rules. `templates` fills a user's names in."""
