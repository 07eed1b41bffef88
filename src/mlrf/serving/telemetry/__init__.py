"""What can be seen of requests beside metrics: times by stage, access log, prediction log, traces."""
