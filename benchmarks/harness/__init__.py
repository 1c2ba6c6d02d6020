"""Running and timing workloads."""
