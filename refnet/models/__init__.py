"""Models: layers put together, and the loop that trains them."""
