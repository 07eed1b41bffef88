"""The page that a server has at /ui: plain HTML, CSS and ES modules, served as they are."""
