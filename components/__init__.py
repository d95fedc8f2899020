"""The platform's building blocks: settings and render are plain Python, the rest are Pulumi."""
