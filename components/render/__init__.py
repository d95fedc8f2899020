"""Settings and plain strings in, file text out. Nothing here may import Pulumi (tests/unit/test_architecture.py)."""
