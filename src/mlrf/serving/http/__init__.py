"""HTTP/1.1 over uvloop: parsing, connections, limits and responses. Knows routes and handlers only as callables."""
