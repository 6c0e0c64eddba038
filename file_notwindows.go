//go:build !windows

package vhd

import "os"

// makeSparse does nothing: what is not written is a hole.
func makeSparse(*os.File) {}
