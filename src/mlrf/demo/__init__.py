"""The demo: real retail data, a model, a bundle, a server and a load test; and the load driver, which benchmarks use too."""
