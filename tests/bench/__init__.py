"""What `make bench` measures: figures, not verdicts."""
