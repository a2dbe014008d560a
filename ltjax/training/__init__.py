"""Tickets found by gradient steps: trained winning tickets, and masks of frozen weights."""
