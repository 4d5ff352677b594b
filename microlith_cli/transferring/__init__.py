"""Event logs on their way: read page by page from whoever holds them, written to files, and taken in from files."""
