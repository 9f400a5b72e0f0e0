"""Does minting help? Arms x budgets x repeats -> rows -> verdict -> report."""
