"""What people read: the screen, the mail, the page, the pictures."""
