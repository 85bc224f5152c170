"""What must learn of a move, told one by one."""
