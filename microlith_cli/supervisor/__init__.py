"""What `microlith run` is made of: a supervisor, and the worker it watches over.

The supervisor owns the control socket, the files' watcher and the screen. The worker, a process of
its own, is the microlith; a reload replaces it and nothing else.

The supervisor imports neither the user's code nor the runtime; only the worker does.
"""
