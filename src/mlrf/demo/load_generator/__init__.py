"""The load generator: the one that the demo, benchmarks, the reliability scoreboard and tests use.

drive, drive_and_wait    a load over a given time, and its report
background_load          a load until its context ends, and its counts meanwhile
generator                the loop itself, for a plan: open or closed, over kept or new connections, HTTP or gRPC
pipelined                more requests than can be answered, without waiting for answers
"""
