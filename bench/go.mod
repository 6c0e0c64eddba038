module github.com/go-vhd/vhd/bench

go 1.26.0

require (
	github.com/go-vhd/vhd v0.0.0
	github.com/lima-vm/go-qcow2reader v0.7.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
)

replace github.com/go-vhd/vhd => ../
