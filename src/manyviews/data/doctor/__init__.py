"""What is better known of data before training than during it: a file a kind of data."""
