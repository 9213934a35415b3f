"""Tasks whose answer is known from how the views were made."""
