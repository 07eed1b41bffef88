"""Contents and atomic writing of a bundle."""
