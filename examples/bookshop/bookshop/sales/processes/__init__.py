"""What takes longer than one handler."""
