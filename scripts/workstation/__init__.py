"""What an operator runs on a workstation; the Makefile is its face. Standard library and PyYAML only."""
