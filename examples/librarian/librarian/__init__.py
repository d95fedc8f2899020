"""A lending library over HTTP: the smallest application that uses both stores of the platform for real."""
