module github.com/go-vhd/vhd

go 1.26.0
