"""Stand-in for the plugin `oci`."""
