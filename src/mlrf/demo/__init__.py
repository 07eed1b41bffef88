"""The demo: real retail data, a model, a bundle, a server and a load test. Benchmarks use its load driver too."""
