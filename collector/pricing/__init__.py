"""Call → priced call. Pure, integers only; knows the price list and nothing else of the house."""
