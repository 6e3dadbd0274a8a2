"""What a change of prices changes in what was booked: worked out from the ledger, written as corrections."""
