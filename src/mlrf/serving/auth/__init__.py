"""Who may ask for what: keys and their scopes, TLS, and origins of browsers."""
