"""One folder each: what is asked, how it is measured, what is predicted."""
