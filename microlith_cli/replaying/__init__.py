"""Running recorded events again: the state that a stream folds to, and a correlation in a store of its own.

Runs the user's code in this process, as it is on the disk now. Writes nothing anywhere.
"""
