"""What is done with runs: search, report, plot, and recommendations for new users."""
