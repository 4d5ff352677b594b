"""What happens on the shelf."""
