module spanward/benchmarks/load

go 1.25
