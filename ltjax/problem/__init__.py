"""What is asked, as plain data, and what the house asks of an experiment."""
