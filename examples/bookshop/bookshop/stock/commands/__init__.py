"""What the stock can be asked to do."""
