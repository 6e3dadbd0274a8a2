"""Where agents, gateways and operators knock: HTTP requests in, answers of the owner out."""
