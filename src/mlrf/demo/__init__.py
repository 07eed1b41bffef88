"""The demo: real retail data, a model, a bundle, a server, a load; and the load driver, which benchmarks use too."""
