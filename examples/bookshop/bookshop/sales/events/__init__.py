"""What happens in sales."""
