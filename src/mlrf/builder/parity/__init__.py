"""The parity gate: the exported model must reproduce the training library's margins and predictions on golden rows.

feature_domain (the values a feature may have along a path), node_probes (rows exactly at a node's split), golden_rows (rows of
every kind), reference_runner (the training library, in a child process: reference_process), exports (the exported model on both
engines), comparison (limits and verdict), gate (all of it, for `build`).
"""
