"""What is decided on the newest state of one thing."""
