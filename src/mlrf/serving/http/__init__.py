"""HTTP/1.1 over uvloop: heads, bodies, connections and answers as bytes. Knows routes and handlers only as callables."""
