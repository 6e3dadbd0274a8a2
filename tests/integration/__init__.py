"""Other people's programs in, booked entries out: the SDKs, collectors and generators users really run."""
