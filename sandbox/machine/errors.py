"""What went wrong with a simulated machine."""


class MachineError(Exception):
    """One sentence: what is wrong, where, and what to do instead."""
