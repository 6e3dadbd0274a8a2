"""The control endpoint, asked over HTTP; its owner, told of bookings over a socket."""
