"""The API of our own: bodies to rows, rows to answers, under `/predict`, `/explain` and `/models`."""
