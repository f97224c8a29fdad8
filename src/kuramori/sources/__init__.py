"""What is read: files and streams, and what of it is left out."""
