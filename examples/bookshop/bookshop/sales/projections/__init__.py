"""What sales can be asked about."""
