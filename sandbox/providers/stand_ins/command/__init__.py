"""The stand-in for pulumi-command: commands on this machine."""
