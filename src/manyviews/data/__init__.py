"""A DATA argument becomes images, and images become micro-batches, without labels."""
