"""Generated documents: the OpenAPI description and the documentation page."""
