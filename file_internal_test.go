package vhd

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
)

// Zeros reach the kernel in sectors that lie in one page of memory each.
func TestZeroBytesBeginWhereAPageDoes(t *testing.T) {
	assert.Zero(t, uintptr(unsafe.Pointer(unsafe.SliceData(zeroBytes)))%pageSize)
}
