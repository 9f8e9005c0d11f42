"""What `policy` looks for, and the views of a text in which it looks."""
