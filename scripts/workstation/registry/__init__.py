"""Images as registries have them: what a tag stands for, whether it is what it says, and who signed it."""
