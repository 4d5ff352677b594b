"""What sales can be asked to do."""
