//go:build !linux && !darwin && !windows

package vhd

import (
	"errors"
	"os"
)

// freeSpace can't be told here.
func freeSpace(string) (int64, error) { return 0, errors.ErrUnsupported }

// freeSpaceOf can't be told either.
func freeSpaceOf(*os.File) (int64, error) { return 0, errors.ErrUnsupported }
