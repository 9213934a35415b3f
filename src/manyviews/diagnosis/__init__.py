"""What can be said of a representation without labels. Looks at training, never changes it."""
