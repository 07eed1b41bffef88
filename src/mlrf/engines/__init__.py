"""What turns rows into raw margins: one port, one room an engine, and the choice between them."""
