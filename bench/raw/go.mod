module rmqbench/raw

go 1.20
