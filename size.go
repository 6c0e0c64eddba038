package vhd

import (
	"context"
	"fmt"
)

func (d *Disk) setSize(_ context.Context, size int64) error {
	return fmt.Errorf("%w: size %d", ErrUnsupported, size)
}
