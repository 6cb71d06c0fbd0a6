"""What a process leaves that dies at any moment, and who takes over."""
