"""Questions to sales."""
