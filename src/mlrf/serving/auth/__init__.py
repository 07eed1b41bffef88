"""Authentication and authorization: API keys with scopes, TLS, and CORS."""
