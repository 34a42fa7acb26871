module torc/bench/peers

go 1.19
