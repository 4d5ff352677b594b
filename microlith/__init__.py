"""microlith: components that share nothing and talk only by messages."""
