//go:build !linux && !darwin && !freebsd

package vhd

import "errors"

// Files can't be asked where their holes are.
const (
	seekData = 0
	seekHole = 0
)

var errNoData = errors.ErrUnsupported
