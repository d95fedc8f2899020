"""Stand-ins for published Pulumi resource plugins (see ../README.md)."""
