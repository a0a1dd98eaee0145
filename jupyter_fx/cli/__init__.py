"""The application tree 'jupyter fx ...'."""
